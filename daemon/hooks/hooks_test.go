package hooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sandpool/daemon/wire"
	"sandpool/scripts/testhost"
)

// fixture is Hooks that run, and what they did.
type fixture struct {
	*Hooks
	outcomes chan string // "0 delivered"
	slept    chan time.Duration
	stop     context.CancelFunc // and wait
	out      *testhost.Log
}

// start runs hooks that do not wait between attempts.
func start(t *testing.T, list ...Hook) *fixture {
	t.Helper()
	f := &fixture{outcomes: make(chan string, 10_000), slept: make(chan time.Duration, 10_000), out: &testhost.Log{}}
	f.Hooks = New(list, func(hook int, outcome string) { f.outcomes <- fmt.Sprint(hook, " ", outcome) }, slog.New(slog.NewTextHandler(f.out, nil)))
	for _, w := range f.workers {
		w.sleep = func(_ context.Context, d time.Duration) error { f.slept <- d; return nil }
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.Run(ctx)
	}()
	f.stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(f.stop)
	return f
}

// expect waits for as many outcomes as are wanted.
func (f *fixture) expect(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for range want {
		got = append(got, <-f.outcomes)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got outcomes %q, want %q; log: %s", got, want, f.out)
	}
}

func (f *fixture) expectLog(t *testing.T, want ...string) {
	t.Helper()
	lines := slices.Collect(strings.Lines(f.out.String()))
	if len(lines) != len(want) {
		t.Fatalf("the log has %d lines, want %d: %s", len(lines), len(want), f.out)
	}
	for i := range want {
		if !strings.Contains(lines[i], want[i]) {
			t.Errorf("line %d of the log is %q, want %q in it", i, lines[i], want[i])
		}
	}
}

// serve is a server that tells the messages of the events it got, in order, and answers what answer says.
func serve(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, e wire.Event)) (url string, got chan string) {
	t.Helper()
	got = make(chan string, 10_000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e wire.Event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		got <- e.Message
		answer(w, r, e)
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

func event(message string) wire.Event {
	return wire.Event{Cursor: "aaaaaaaa-1", Time: time.Unix(1_700_000_000, 0).UTC(), Kind: "warning", Claim: "c-1", Message: message}
}

func TestPost(t *testing.T) {
	sent := event("m")
	sent.Detail = map[string]string{"time_left": "5m"}
	bodies := make(chan wire.Event, 1)
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request, e wire.Event) {
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %s of %q", r.Method, r.Header.Get("Content-Type"))
		}
		w.WriteHeader(http.StatusAccepted)
		bodies <- e
	})
	f := start(t, Hook{Events: []string{AllEvents}, URL: url, Timeout: time.Minute})
	f.Tell(sent)
	f.expect(t, "0 delivered")
	if got := <-bodies; !reflect.DeepEqual(got, sent) {
		t.Errorf("got %v, want %v", got, sent)
	}
	f.expectLog(t)
}

func TestKinds(t *testing.T) {
	url, _ := serve(t, func(http.ResponseWriter, *http.Request, wire.Event) {})
	f := start(t,
		Hook{Events: []string{"warning", "grace"}, URL: url, Timeout: time.Minute},
		Hook{Events: []string{AllEvents}, URL: url, Timeout: time.Minute},
		Hook{Events: []string{"killed"}, URL: url, Timeout: time.Minute})
	f.Tell(wire.Event{Kind: "grace"})
	f.Tell(wire.Event{Kind: "claimed"})
	f.expect(t, "0 delivered", "1 delivered", "1 delivered")
}

func TestRetries(t *testing.T) {
	var mu sync.Mutex
	failures := map[string]int{"a": 2, "b": 100}
	url, got := serve(t, func(w http.ResponseWriter, _ *http.Request, e wire.Event) {
		mu.Lock()
		defer mu.Unlock()
		if failures[e.Message]--; failures[e.Message] >= 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	f := start(t, Hook{Events: []string{AllEvents}, URL: url + "/secret", Timeout: time.Minute, Retries: 7})
	for _, message := range []string{"a", "b", "c"} {
		f.Tell(event(message))
	}
	f.expect(t, "0 delivered", "0 delivered", "0 failed")
	for want := range strings.FieldsSeq("a a a b b b b b b b b c") {
		if message := <-got; message != want {
			t.Errorf("got event %s, want %s", message, want)
		}
	}
	for i, want := range []int{1, 2, 1, 2, 4, 8, 16, 30, 30} {
		if d := <-f.slept; d != time.Duration(want)*time.Second {
			t.Errorf("delay %d is %s, want %ds", i, d, want)
		}
	}
	f.expectLog(t, "500 Internal Server Error")
}

func TestPostFailures(t *testing.T) {
	elsewhere, visits := serve(t, func(http.ResponseWriter, *http.Request, wire.Event) {})
	redirecting, _ := serve(t, func(w http.ResponseWriter, r *http.Request, _ wire.Event) {
		http.Redirect(w, r, elsewhere, http.StatusTemporaryRedirect)
	})
	hanging, _ := serve(t, func(_ http.ResponseWriter, r *http.Request, _ wire.Event) { <-r.Context().Done() })
	closed := httptest.NewServer(nil)
	closed.Close()
	for name, test := range map[string]struct {
		url     string
		timeout time.Duration
		want    string
	}{
		"redirect":     {redirecting, time.Minute, "307 Temporary Redirect"},
		"no answer":    {hanging, time.Millisecond, "not done within 1ms"},
		"nobody there": {closed.URL, time.Minute, "connection refused"},
		"no URL":       {"http://[::1", time.Minute, "missing ']'"},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, Hook{Events: []string{AllEvents}, URL: test.url + "/secret", Timeout: test.timeout})
			f.Tell(event(""))
			f.expect(t, "0 failed")
			f.expectLog(t, test.want)
			if strings.Contains(f.out.String(), "secret") {
				t.Errorf("the log shows the URL: %s", f.out)
			}
		})
	}
	if len(visits) > 0 {
		t.Error("a redirect was followed")
	}
}

// TestOverflow fills the queue of a hook that hangs. Another hook does not notice.
func TestOverflow(t *testing.T) {
	goOn := make(chan struct{})
	slow, got := serve(t, func(http.ResponseWriter, *http.Request, wire.Event) { <-goOn })
	quick, _ := serve(t, func(http.ResponseWriter, *http.Request, wire.Event) {})
	f := start(t,
		Hook{Events: []string{"warning"}, URL: slow, Timeout: time.Hour},
		Hook{Events: []string{"grace"}, URL: quick, Timeout: time.Hour})
	f.Tell(event("0"))
	<-got // it is under way, not in the queue
	for i := range queueLength + 3 {
		f.Tell(event(strconv.Itoa(i + 1)))
	}
	f.expect(t, "0 dropped", "0 dropped", "0 dropped")
	f.expectLog(t, "does not keep up")
	f.Tell(wire.Event{Kind: "grace"})
	f.expect(t, "1 delivered")
	close(goOn)
	f.expect(t, slices.Repeat([]string{"0 delivered"}, queueLength+1)...)
	for i := range queueLength {
		if message := <-got; message != strconv.Itoa(i+1) {
			t.Fatalf("got event %s, want %d", message, i+1)
		}
	}
	f.stop()
	f.expectLog(t, "does not keep up", "missed=3")
}

func TestStop(t *testing.T) {
	url, got := serve(t, func(_ http.ResponseWriter, r *http.Request, _ wire.Event) { <-r.Context().Done() })
	f := start(t, Hook{Events: []string{AllEvents}, URL: url, Timeout: time.Hour, Retries: 5})
	for _, message := range []string{"a", "b", "c"} {
		f.Tell(event(message))
	}
	<-got
	f.stop()
	f.expect(t, "0 dropped", "0 dropped", "0 dropped")
	f.expectLog(t, "hook is cut off", "events=2")
}

func TestCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out")
	f := start(t, Hook{Events: []string{AllEvents}, Command: []string{"sh", "-c", `{ echo "$SANDPOOL_EVENT $SANDPOOL_CLAIM $1"; cat; } >>` + file, "sh", "arg"}, Timeout: time.Minute})
	f.Tell(event("a"))
	f.Tell(event("b"))
	f.expect(t, "0 delivered", "0 delivered")
	line := func(message string) string {
		return "warning c-1 arg\n" + `{"cursor":"aaaaaaaa-1","time":"2023-11-14T22:13:20Z","kind":"warning","claim":"c-1","message":"` + message + `"}` + "\n"
	}
	data, err := os.ReadFile(file)
	if want := line("a") + line("b"); string(data) != want || err != nil {
		t.Errorf("got  %s (%v)\nwant %s", data, err, want)
	}
	f.expectLog(t)
}

func TestCommandFailures(t *testing.T) {
	for name, test := range map[string]struct {
		command []string
		timeout time.Duration
		want    string
	}{
		"exit code":   {[]string{"sh", "-c", "echo no luck; exit 3"}, time.Minute, `exit status 3: \"no luck\\n\"`},
		"long output": {[]string{"sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo end >&2; false"}, time.Minute, `xxend\\n\"`},
		"no such":     {[]string{"/nonexistent/hook"}, time.Minute, "no such file"},
		"timeout":     {[]string{"sleep", "1000"}, 10 * time.Millisecond, "not done within 10ms"},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, Hook{Events: []string{AllEvents}, Command: test.command, Timeout: test.timeout})
			f.Tell(event("\n"))
			f.expect(t, "0 failed")
			f.expectLog(t, test.want)
			if n := len(f.out.String()); n > 3*maxOutput {
				t.Errorf("the log has %d bytes", n)
			}
		})
	}
}

func TestCommandIsRetried(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tried")
	f := start(t, Hook{Events: []string{AllEvents}, Command: []string{"sh", "-c", "test -e $0 || { touch $0; exit 1; }", file}, Timeout: time.Minute, Retries: 1})
	f.Tell(event(""))
	f.expect(t, "0 delivered")
}

// fifo returns the path of a named pipe and its reading end, which ends when the last process that opened it for writing does.
func fifo(t *testing.T) (path string, read func() string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, func() string {
		t.Helper()
		file, err := os.Open(path) // waits for a writer
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close() //nolint:errcheck // it was only read
		data, err := io.ReadAll(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
}

// TestCommandGroupIsKilled cuts a command off once its child runs, and waits for the end of both.
func TestCommandGroupIsKilled(t *testing.T) {
	path, _ := fifo(t)
	f := start(t, Hook{Events: []string{AllEvents}, Command: []string{"sh", "-c", `exec 3>$0; sleep 1000 & echo started >&3; wait`, path}, Timeout: time.Hour})
	f.Tell(event(""))
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // it is only read
	buffer := make([]byte, 100)
	if n, err := file.Read(buffer); string(buffer[:n]) != "started\n" || err != nil {
		t.Fatalf("got %q (%v)", buffer[:n], err)
	}
	f.stop()
	if n, err := file.Read(buffer); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %q (%v), want the end", buffer[:n], err)
	}
	f.expect(t, "0 dropped")
}

// TestLeftOversAreKilled runs commands that leave a child behind, which keeps the output open or does not.
func TestLeftOversAreKilled(t *testing.T) {
	for name, test := range map[string]struct{ command, want string }{
		"quiet":        {`exec 3>$0; sleep 1000 >/dev/null 2>&1 & echo started >&3`, "0 delivered"},
		"output open":  {`exec 3>$0; sleep 1000 & echo started >&3`, "0 delivered"},
		"after a slip": {`exec 3>$0; sleep 1000 & echo started >&3; exit 1`, "0 failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // two of them wait for leftOverGrace
			path, read := fifo(t)
			f := start(t, Hook{Events: []string{AllEvents}, Command: []string{"sh", "-c", test.command, path}, Timeout: time.Hour})
			f.Tell(event(""))
			if got := read(); got != "started\n" {
				t.Errorf("read %q", got)
			}
			f.expect(t, test.want)
		})
	}
}
