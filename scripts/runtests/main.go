// Command runtests runs the tests of packages by `go test`, each once, shows what matters, and ends with one line that counts tests.
//
//	runtests [-FLAG[=VALUE]...] PACKAGE...
//
// Packages that start no programs come from Go's cache where nothing changed. The others run anew, beside them; the largest of those are
// shared out among processes.
// A test that was skipped is a failure: on a machine that this project is made for, every test can run.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"sandpool/scripts/testhost"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == shareFlag {
		os.Exit(shareHere(os.Args[2], os.Args[3:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if !ok {
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) bool {
	start := time.Now()
	sum := newSummary(out)
	groups, err := split(ctx, args)
	errs := make([]error, len(groups))
	var all sync.WaitGroup
	for i, group := range groups {
		all.Go(func() { errs[i] = sum.test(ctx, group) })
	}
	all.Wait()
	err = errors.Join(append(errs, err)...)
	if err != nil {
		fmt.Fprintln(out, err)
	}
	sum.close(err == nil && sum.good(), time.Since(start))
	return err == nil && sum.good()
}

// test runs go test with its arguments and takes note of what became of the tests.
func (s *summary) test(ctx context.Context, args []string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	// An interrupt goes to the tests too, which go test would not do: they clean up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.Stderr, cmd.Env = os.Stderr, testhost.Environ(os.Environ())
	events, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("start go test: %w", err)
	}
	if err := s.read(events); err != nil {
		return errors.Join(fmt.Errorf("read events of go test: %w", err), cmd.Wait())
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	return nil
}

// event is a line of `go test -json`; `go doc test2json` explains it.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// summary counts tests and keeps their output until it is known whether it is wanted.
type summary struct {
	mu                                sync.Mutex // held while an event is added
	out                               io.Writer
	output                            map[[2]string][]string // by package and test
	packages, passed, failed, skipped int
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, output: map[[2]string][]string{}}
}

func (s *summary) read(events io.Reader) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			s.add(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *summary) add(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		_, _ = s.out.Write(line) // go test's own words, about a flag that it does not know, for one
		return
	}
	key := [2]string{e.Package, e.Test}
	switch e.Action {
	case "output", "build-output":
		if e.Test == "" {
			s.packageOutput(e.Output)
			return
		}
		s.output[key] = append(s.output[key], e.Output)
		return
	case "pass", "fail", "skip":
		s.ended(e, s.output[key])
		delete(s.output, key)
	}
}

// packageOutput shows what is said outside of tests, but for what says nothing.
func (s *summary) packageOutput(text string) {
	if text != "PASS\n" && text != "FAIL\n" {
		fmt.Fprint(s.out, text)
	}
}

func (s *summary) ended(e event, output []string) {
	if e.Test == "" {
		if e.Action != "skip" { // a package without tests
			s.packages++
		}
		return
	}
	switch e.Action {
	case "pass":
		s.passed++
		return
	case "fail":
		s.failed++
	case "skip":
		s.skipped++
	}
	for _, line := range output {
		fmt.Fprint(s.out, line)
	}
}

func (s *summary) good() bool { return s.failed == 0 && s.skipped == 0 && s.passed > 0 }

func (s *summary) close(ok bool, took time.Duration) {
	verdict := "PASS"
	if !ok {
		verdict = "FAIL"
		for key, output := range s.output { // tests that never ended: the last words of a package that crashed
			fmt.Fprintf(s.out, "=== %s %s did not end\n", key[0], key[1])
			for _, line := range output {
				fmt.Fprint(s.out, line)
			}
		}
	}
	fmt.Fprintf(s.out, "%s: %d tests passed, %d failed, %d skipped in %d packages in %s\n",
		verdict, s.passed, s.failed, s.skipped, s.packages, took.Round(100*time.Millisecond))
}
