package files

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/runtime"
	"sandpool/scripts/testhost"
)

// program is the real init.
var program string

func TestMain(m *testing.M) {
	testhost.ClearEnv()
	dir, err := os.MkdirTemp("", "sandpool-files-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "init")
	code := 1
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/sandpool-init").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the init: %v: %s\n", err, out)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// fakeProcess is an init that runs beside the test.
type fakeProcess func(ctx context.Context) (int, error)

func (f fakeProcess) Wait(ctx context.Context) (int, error) { return f(ctx) }

// here runs the real init on this host.
func here(_ context.Context, spec runtime.ExecSpec) (Process, error) {
	return fakeProcess(func(ctx context.Context) (int, error) {
		cmd := exec.CommandContext(ctx, program, spec.Args[1:]...)
		cmd.Stdout, cmd.Stderr = spec.Stdout, spec.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return 0, err
		}
		go func() {
			_, _ = io.Copy(in, spec.Stdin)
			_ = in.Close()
		}()
		err = cmd.Run()
		if exit, is := errors.AsType[*exec.ExitError](err); is {
			return exit.ExitCode(), nil
		}
		return 0, err
	}), nil
}

// answers is an init that writes this, says that and ends with a code.
func answers(out, said string, code int) Start {
	return func(_ context.Context, spec runtime.ExecSpec) (Process, error) {
		return fakeProcess(func(context.Context) (int, error) {
			_, _ = io.WriteString(spec.Stderr, said)
			_, _ = io.WriteString(spec.Stdout, out)
			return code, nil
		}), nil
	}
}

// body is what a client sends.
type body struct{ io.Reader }

func (body) Stop() {}

func op(name string, args ...string) Op {
	o := Op{Name: name, Args: map[string]string{}}
	for i := 0; i < len(args); i += 2 {
		o.Args[args[i]] = args[i+1]
	}
	return o
}

// TestWriteAndRead has content come and go whole, or not at all.
func TestWriteAndRead(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "caf\xe9\n")
	content := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	file, err := Send(t.Context(), here, op("write", "path", name, "mode", "640", "mtime", "1700000000000000005"), body{bytes.NewReader(content)})
	if err != nil || file.Name() != name || file.Size != int64(len(content)) || file.Mode != "0640" || file.ModifiedAt.UnixNano() != 1_700_000_000_000_000_005 || file.Kind != wire.KindFile {
		t.Fatalf("%+v, %v", file, err)
	}
	for what, c := range map[string]struct {
		header, value string
		status        int
		want          string
	}{
		"all":                {"Accept", "*/*", http.StatusOK, string(content)},
		"a part":             {"Range", "bytes=1000000-1000009", http.StatusPartialContent, string(content[1_000_000:1_000_010])},
		"the end":            {"Range", "bytes=-3", http.StatusPartialContent, "def"},
		"several parts":      {"Range", "bytes=0-1,4-5", http.StatusOK, string(content)},
		"what is there":      {"If-None-Match", file.ETag, http.StatusNotModified, ""},
		"what has not moved": {"If-Modified-Since", "Tue, 14 Nov 2023 22:13:20 GMT", http.StatusNotModified, ""},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header.Set(c.header, c.value)
		w := httptest.NewRecorder()
		if err := ServeContent(w, r, here, op("read", "path", name)); err != nil || w.Code != c.status || w.Body.String() != c.want {
			t.Errorf("%s: %v, status %d, %d bytes %.20q", what, err, w.Code, w.Body.Len(), w.Body.String())
		}
	}
	for what, broken := range map[string]error{"an end too early": io.ErrUnexpectedEOF, "a client that is gone": os.ErrDeadlineExceeded} {
		for _, how := range []string{"write", "unpack"} {
			path := name
			if how == "unpack" {
				path = dir
			}
			_, err = Send(t.Context(), here, op(how, "path", path), body{io.MultiReader(strings.NewReader("half"), failing{broken})})
			if !errors.Is(err, broken) {
				t.Errorf("%s: %s: error %v, want %v", what, how, err, broken)
			}
		}
	}
	names, _ := os.ReadDir(dir)
	if now, err := os.ReadFile(name); err != nil || !bytes.Equal(now, content) || len(names) != 1 {
		t.Errorf("after broken bodies the file has %d bytes, %v, beside %v", len(now), err, names)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestLeave has the client go while its content is taken: the init tidies up.
func TestLeave(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	began := make(chan struct{})
	from, to := io.Pipe()
	go func() {
		_, _ = to.Write([]byte("half"))
		close(began)
		<-ctx.Done()
		_ = to.CloseWithError(io.ErrUnexpectedEOF)
	}()
	go func() {
		<-began
		cancel()
	}()
	if _, err := Send(ctx, here, op("write", "path", filepath.Join(dir, "x")), body{from}); err == nil {
		t.Error("no error")
	}
	if names, _ := os.ReadDir(dir); len(names) > 0 {
		t.Errorf("left over: %v", names)
	}
}

// TestNobodyListens has the daemon die before the init says that it is ready: nothing is left of what was begun.
func TestNobodyListens(t *testing.T) {
	dir := t.TempDir()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	cmd := exec.CommandContext(t.Context(), program, op("write", "path", filepath.Join(dir, "x")).spec().Args[1:]...)
	cmd.Stdout = w
	err = cmd.Run()
	_ = w.Close()
	if exit, is := errors.AsType[*exec.ExitError](err); !is || exit.ExitCode() != 1 {
		t.Errorf("it ends with %v, want exit code 1", err)
	}
	if names, _ := os.ReadDir(dir); len(names) > 0 {
		t.Errorf("left over: %v", names)
	}
}

// TestHostileAnswers has sandboxes answer what no init of ours does.
func TestHostileAnswers(t *testing.T) {
	line := `f 644 0 0 1 1.5 1:2 "x" ""` + "\n"
	for name, c := range map[string]struct {
		start Start
		want  func(error) bool
	}{
		"nothing":           {answers("", "", 0), errdefs.IsConflict},
		"no line":           {answers("x", "", 0), errdefs.IsConflict},
		"a long line":       {answers(strings.Repeat("x", 2*maxLine), "", 0), errdefs.IsConflict},
		"another kind":      {answers("x"+line[1:], "", 0), errdefs.IsConflict},
		"a size below zero": {answers(strings.Replace(line, " 1 ", " -1 ", 1), "", 0), errdefs.IsConflict},
		"an open quote":     {answers(strings.Replace(line, `"x"`, `"x`, 1), "", 0), errdefs.IsConflict},
		"a long error":      {answers("", strings.Repeat("x", 1<<20), 1), isEnded},
		"another end":       {answers("", "", 137), isEnded},
		"an unknown error":  {answers("", "EWHAT it was\x1b[2J", 1), errdefs.IsConflict},
		"an older init":     {answers("", "usage: sandpool-init", 2), errdefs.IsFailedPrecondition},
		"a full disk":       {answers("", "ENOSPC write: no room", 1), func(err error) bool { return errors.Is(err, ErrFull) }},
		"fine":              {answers(line, "", 0), func(err error) bool { return err == nil }},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Do(t.Context(), c.start, op("stat", "path", "/"))
			if !c.want(err) || err != nil && strings.Contains(err.Error(), "\x1b") {
				t.Errorf("error %q", err)
			}
		})
	}
}

func isEnded(err error) bool {
	_, is := errors.AsType[*EndedError](err)
	return is
}

// TestParseOp refuses what no operation takes.
func TestParseOp(t *testing.T) {
	for query, want := range map[string]string{
		"path=/x&follow=true":      `stat map[follow:1 path:/x] ""`,
		"path=%2Fcaf%E9&follow=0":  "stat map[path:/caf\xe9] \"\"",
		"path=x&user=app%3Astaff":  `stat map[path:x] "app:staff"`,
		"path=x&mode=8":            "mode",
		"path=x&mode=17777":        "mode",
		"path=x&depth=-1":          "depth",
		"path=x&mtime=yesterday":   "mtime",
		"path=x&as=..":             "as",
		"path=x&as=a/b":            "as",
		"path=x&path=y":            "twice",
		"path=x&what=y":            "unknown",
		"follow=1":                 "path is missing",
		"path=x&follow=perhaps":    "true or false",
		"path=a%00b":               "NUL",
		"path=%zz":                 "escape",
		"path=x&append=1&offset=x": "whole number",
	} {
		o, err := ParseOp("stat", query, []string{"path", "follow", "mode", "depth", "mtime", "as", "append", "offset"})
		got := fmt.Sprintf("%s %v %q", o.Name, o.Args, o.User)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) || err != nil && !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

// FuzzParse reads whatever a sandbox may say of a file.
func FuzzParse(f *testing.F) {
	f.Add(`f 644 0 0 1 1.5 1:2 "x" ""`)
	f.Add(`l 777 1000 1000 0 -1.999999999 18446744073709551615:1 "caf\xe9" "\x00"`)
	f.Add(`d 7777 4294967295 0 9223372036854775807 99999999999999.0 1:1 "" ""`)
	f.Fuzz(func(t *testing.T, line string) {
		file, err := parse(line)
		if err != nil {
			return
		}
		if _, err := json.Marshal(file); err != nil || file.Size < 0 || !utf8.ValidString(file.Path) {
			t.Errorf("%q: %+v, %v", line, file, err)
		}
	})
}
