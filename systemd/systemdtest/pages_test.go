package systemdtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/scripts/doctest"
	"sandpool/scripts/testhost"
)

const quickstart = "docs/quickstart.md"

// typedPages are typed in this order on a host with the default configuration. The first installs the daemon, and what it adds to the
// configuration the others have.
var typedPages = []string{
	quickstart, "README.md", "docs/commands.md", "docs/jobs.md", "docs/lifetimes.md", "docs/checkpoints.md", "docs/pools.md", "docs/events.md", "docs/api.md",
}

// TestPages types the console blocks of pages, and compares what they print with what the pages say.
func TestPages(t *testing.T) {
	if err := install(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(host.Inside("/usr/local/share/doc/sandpool/sandpoold.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := put(confFile, string(data)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		systemctl(t, "disable", "--now", "sandpoold.socket", service)
		if err := configure(2); err != nil {
			t.Error(err)
		}
	})
	systemctl(t, "start", "containerd.service")
	for _, name := range typedPages {
		t.Run(name, func(t *testing.T) { typePage(t, name) })
	}
}

// TestInstallPage wants what docs/install.md tells a reader without a package to be what the quickstart begins with, which TestPages types.
func TestInstallPage(t *testing.T) {
	install, claim, err := docsCommands()
	if err != nil {
		t.Fatal(err)
	}
	typed := pageSteps(t, quickstart)
	for _, command := range slices.Concat(install, claim) {
		at := slices.IndexFunc(typed, func(s doctest.Step) bool { return s.Command == command })
		if at < 0 {
			t.Fatalf("the quickstart does not type %q behind the commands before it", command)
		}
		typed = typed[at+1:]
	}
}

// pageSteps are what a page shows.
func pageSteps(t *testing.T, name string) []doctest.Step {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(checkout, name))
	if err != nil {
		t.Fatal(err)
	}
	steps, err := doctest.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) == 0 {
		t.Fatal("it shows nothing")
	}
	return steps
}

func typePage(t *testing.T, name string) {
	steps := pageSteps(t, name)
	s, names := newShell(t), doctest.Names{}
	c := newClient(t)
	for _, step := range steps {
		settle(t, c)
		if err := s.step(t.Context(), step, names); err != nil {
			t.Errorf("%s:%d: %s: %v", name, step.Line, step.Command, err)
			if errors.Is(err, context.DeadlineExceeded) {
				t.FailNow()
			}
		}
	}
	if err := s.succeeded(); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if claims, err := c.List(t.Context()); name == quickstart && (err != nil || len(claims) > 0) {
		t.Errorf("after the release of all its claims there are %+v, %v", claims, err)
	}
	tidy(t, c)
}

// tidy ends all claims, deletes all checkpoints and takes changes of pools back.
func tidy(t *testing.T, c *client.Client) {
	t.Helper()
	claims, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, claim := range claims {
		release(t, c, claim)
	}
	checkpoints, err := c.Checkpoints(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, checkpoint := range checkpoints {
		if err := c.DeleteCheckpoint(t.Context(), checkpoint.ID); err != nil {
			t.Error(err)
		}
	}
	systemctl(t, "reload", service)
}

// settle waits until nothing is started any more, as a reader has by the time of the next command; not while there is no daemon.
func settle(t *testing.T, c *client.Client) {
	t.Helper()
	await(t, "the pools are full", func() bool {
		pools, err := c.Pools(t.Context())
		return err != nil || !slices.ContainsFunc(pools, func(p wire.Pool) bool {
			return p.Warming > 0 || !p.Hold && p.Available+p.InUse < p.Wanted
		})
	})
}

// shell is a terminal's on the host, in the checkout's folder.
type shell struct {
	in     io.WriteCloser
	code   string // of the last command
	mu     sync.Mutex
	output []string // lines that nobody has matched yet
	ended  bool
}

const pollShell = 20 * time.Millisecond

// mark is what the shell prints behind a command, with its exit code.
const mark = "=== typed "

func newShell(t *testing.T) *shell {
	t.Helper()
	cmd := host.In(context.WithoutCancel(t.Context()), "env", hostPath, "HOME=/root", "SYSTEMD_PAGER=", "TERM=dumb", "bash", "--norc")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &shell{in: in, code: "0"}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.add(lines.Text())
		}
		s.mu.Lock()
		s.ended = true
		s.mu.Unlock()
	}()
	t.Cleanup(func() {
		_, _ = io.WriteString(in, "kill $(jobs -p) 2>/dev/null; wait\n")
		_ = in.Close()
		select {
		case <-read:
		case <-time.After(patience): // the shell waits for a command that does not end, and goes with the host
			_ = out.Close()
			_ = cmd.Process.Kill()
			<-read
		}
		_ = cmd.Wait()
	})
	_, _ = fmt.Fprintf(in, "cd %s\n", checkout)
	return s
}

func (s *shell) add(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.output = append(s.output, line)
}

// printed is what there is behind the last command's beginning, and whether it has ended.
func (s *shell) printed() (text string, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all strings.Builder
	for _, line := range s.output {
		if code, ok := strings.CutPrefix(line, mark); ok {
			s.code, ended = code, true
			continue
		}
		all.WriteString(line + "\n")
	}
	return all.String(), ended || s.ended
}

// succeeded says when the last command did not. It is asked once.
func (s *shell) succeeded() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	code := s.code
	s.code = "0"
	if code == "0" {
		return nil
	}
	return fmt.Errorf("the command before exits with %s, which the page does not show", code)
}

// step types a command and compares what it prints. A command that fails is an error unless the next one asks for its exit code.
func (s *shell) step(ctx context.Context, step doctest.Step, names doctest.Names) error {
	command := names.In(step.Command)
	if strings.HasPrefix(command, "make install") {
		return onTheMachine(ctx, command)
	}
	var failed error
	if !strings.Contains(command, "$?") {
		failed = s.succeeded()
	}
	s.mu.Lock()
	code := s.code
	s.output = nil
	s.mu.Unlock()
	// Its input is not the shell's, which has the next commands.
	if _, err := fmt.Fprintf(s.in, "(exit %s)\n{ %s\n} </dev/null\necho '%s'$?\n", code, command, mark); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last error
	background := strings.HasSuffix(strings.TrimSpace(strings.SplitN(command, "#", 2)[0]), "&")
	err := testhost.Poll(ctx, pollShell, func() bool {
		text, ended := s.printed()
		if !ended {
			last = fmt.Errorf("it does not end; it printed\n%s", text)
			return false
		}
		last = names.Match(step.Output, text, step.Numbers...)
		return last == nil || !background
	})
	return errors.Join(failed, last, err)
}
