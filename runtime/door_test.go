package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"sandpool/runtime/door"
	"sandpool/runtime/supervisor"
	"sandpool/runtime/template"
)

// openDoor opens the door of a sandbox, and is the daemon that serves it: it allows names that end in .test, says what was asked for, and then what it hears.
func openDoor(t *testing.T, e *Engine, id string) *door.Session {
	t.Helper()
	return serveDoor(t, e, id, answerDoor)
}

func serveDoor(t *testing.T, e *Engine, id string, accept func(*door.Stream)) *door.Session {
	t.Helper()
	in, out, err := e.Door(t.Context(), id)
	if err != nil {
		t.Fatalf("%v; %s", err, fate(t, e, id))
	}
	s := door.New(in, out, door.Options{})
	var served sync.WaitGroup
	served.Go(func() {
		if err := s.Serve(accept); err != nil {
			t.Errorf("the door: %v", err)
		}
	})
	t.Cleanup(func() {
		s.Close()
		served.Wait()
	})
	return s
}

func answerDoor(st *door.Stream) {
	ask := st.Ask()
	switch {
	case ask.Kind != door.Proxy && !strings.HasSuffix(ask.Name, ".test"):
		_ = st.Refuse(door.Refusal{Reason: door.Denied})
	case ask.Kind == door.Resolve:
		_ = st.Accept("80")
	case st.Accept() == nil:
		_, _ = fmt.Fprintf(st, "%s %d\n", ask.Name, ask.Port)
		_, _ = io.Copy(st, st)
		_ = st.CloseWrite()
	}
}

func tellNames(t *testing.T, s *door.Session, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	st, _, err := s.Open(ctx, door.Ask{Kind: door.Table, Words: words})
	if err != nil {
		t.Fatal(err)
	}
	_ = st.Close()
}

// expectAnswer connects from inside to a name and has what it says come back.
func expectAnswer(t *testing.T, e *Engine, id, name string, port int) {
	t.Helper()
	if code, out := run(t, e, id, "hello\n", "nc", name, fmt.Sprint(port)); code != 0 || out != fmt.Sprintf("%s %d\nhello\n", name, port) {
		t.Errorf("from %s: %d, %q", name, code, out)
	}
}

// into connects to a port of a sandbox's own, says something and returns the answer.
func into(t *testing.T, s *door.Session, port int, text string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	st, _, err := s.Open(ctx, door.Ask{Kind: door.Dial, Port: port})
	if err != nil {
		return "", err
	}
	defer func() { _ = st.Close() }()
	if _, err := io.WriteString(st, text); err != nil {
		return "", err
	}
	_ = st.CloseWrite()
	got, err := io.ReadAll(st)
	return string(got), err
}

// openWithDoor opens an engine and starts a sandbox with a door.
func openWithDoor(t *testing.T) (*Engine, string) {
	t.Helper()
	e := openEngine(t, testConfig(t))
	if err := prepare(t.Context(), e, "door", template.Template{Image: "file://" + host.Image, Network: template.Door}); err != nil {
		t.Fatal(err)
	}
	return e, startFrom(t, e, "door")
}

// TestDoor goes in and out of a sandbox as any program would, by names that are listed and by others.
func TestDoor(t *testing.T) {
	e, id := openWithDoor(t)
	s := openDoor(t, e, id)
	tellNames(t, s, "listed.test", "80,7000", "second.test", "443")
	expectAnswer(t, e, id, "listed.test", 80)
	expectAnswer(t, e, id, "listed.test", 7000)
	expectAnswer(t, e, id, "second.test", 443)
	expectAnswer(t, e, id, "other.test", 80)
	if code, out := run(t, e, id, "hello\n", "nc", "127.0.0.1", "3128"); code != 0 || out != " 0\nhello\n" {
		t.Errorf("the proxy: %d, %q", code, out)
	}
	if code, out := run(t, e, id, "", "nslookup", "denied.example"); code == 0 || !strings.Contains(out, "NXDOMAIN") {
		t.Errorf("a name that is denied: %d, %q", code, out)
	}
	if code, out := run(t, e, id, "", "cat", "/etc/resolv.conf"); code != 0 || !strings.HasPrefix(out, "nameserver 127.0.0.1\n") {
		t.Errorf("%d, %q", code, out)
	}
	if code, out := run(t, e, id, "", "nc", "second.test", "80"); code == 0 {
		t.Errorf("a port that is not listed: %q", out)
	}
	tellNames(t, s, "second.test", "443", "third.test", "80")
	expectAnswer(t, e, id, "third.test", 80)
	expectAnswer(t, e, id, "second.test", 443)

	c := supervise(t, e, id)
	server := start(t, c, sh("nc -ll -p 7000 -e sh -c 'echo ready; cat' & wait"))
	for { // until it listens
		got, err := into(t, s, 7000, "to the inside")
		refusal, refused := errors.AsType[*door.Refusal](err)
		if refused && refusal.Reason == door.Failed && strings.Contains(refusal.Text, "refused") {
			continue
		}
		if err != nil || got != "ready\nto the inside" {
			t.Errorf("%q, %v", got, err)
		}
		break
	}
	if err := c.Signal(t.Context(), server, 9); err != nil {
		t.Error(err)
	}
}

// lineOf is a connection from inside that says a line at a time.
type lineOf struct {
	c   *supervisor.Conn
	pid int
	at  int64
}

func connectFrom(t *testing.T, e *Engine, id, name string) *lineOf {
	t.Helper()
	c := supervise(t, e, id)
	command := sh("exec nc " + name + " 80")
	command.Input = true
	l := &lineOf{c: c, pid: start(t, c, command)}
	l.at = await(t, c, l.pid, 0, name+" 80\n")
	return l
}

func (l *lineOf) say(t *testing.T, text string) {
	t.Helper()
	if err := l.c.Input(t.Context(), l.pid, []byte(text+"\n")); err != nil {
		t.Fatal(err)
	}
	l.at = await(t, l.c, l.pid, l.at, text+"\n")
}

// TestDoorInTheLifeOfASandbox has a connection go on through a pause and a checkpoint, and end at a restore and with the daemon. Listeners and names
// stay, and what connects while there is no daemon waits for the next one.
func TestDoorInTheLifeOfASandbox(t *testing.T) {
	e, id := openWithDoor(t)
	listening := make(chan *door.Stream, 1)
	s := serveDoor(t, e, id, func(st *door.Stream) {
		if st.Ask().Name != "news.test" {
			answerDoor(st)
		} else if st.Accept() == nil {
			listening <- st
			<-st.Silent()
		}
	})
	tellNames(t, s, "a.test", "80", "news.test", "80")
	live := connectFrom(t, e, id, "a.test")
	live.say(t, "first")
	news := supervise(t, e, id)
	reader := start(t, news, sh("nc news.test 80"))
	writer := <-listening
	if err := e.Pause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(writer, "while it is paused\n"); err != nil {
		t.Fatal(err)
	}
	fit, dir := take(t, e, id) // which takes that out of the pipe
	if err := e.Resume(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	await(t, news, reader, 0, "while it is paused\n")
	live.say(t, "after a pause")
	running, runningDir := take(t, e, id)
	live.say(t, "after a checkpoint")

	s.Close() // as of a daemon that is killed
	ended(t, live.c, live.pid)
	waiting := startWaiting(t, e, id)
	openDoor(t, e, id)
	waiting.expect(t)
	expectAnswer(t, e, id, "other.test", 80)

	copies := []string{restore(t, e, fit, dir), restore(t, e, running, runningDir), restore(t, e, running, runningDir)}
	for _, copied := range copies {
		ended(t, supervise(t, e, copied), live.pid)
		waiting := startWaiting(t, e, copied)
		copyDoor := openDoor(t, e, copied)
		waiting.expect(t)
		expectAnswer(t, e, copied, "other.test", 80)
		if _, err := into(t, copyDoor, 7000, ""); err == nil {
			t.Error("something listens")
		}
	}
	openDoor(t, e, copies[0]) // replaces the one before
	expectAnswer(t, e, copies[0], "a.test", 80)
}

// ended waits for a process's end.
func ended(t *testing.T, c *supervisor.Conn, pid int) {
	t.Helper()
	_, _, _ = outputOf(t, c, pid, 0)
}

// waiting is a connection that was begun while there was no daemon.
type waiting struct {
	c   *supervisor.Conn
	pid int
}

func startWaiting(t *testing.T, e *Engine, id string) waiting {
	t.Helper()
	c := supervise(t, e, id)
	command := sh("echo begun; echo hello | nc a.test 80")
	pid := start(t, c, command)
	await(t, c, pid, 0, "begun\n")
	return waiting{c, pid}
}

func (w waiting) expect(t *testing.T) {
	t.Helper()
	if texts, _, p := outputOf(t, w.c, w.pid, 0); p.Code != 0 || texts[supervisor.Stdout] != "begun\na.test 80\nhello\n" {
		t.Errorf("%q, %+v", texts, p)
	}
}
