package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// shareFlag has go test start the tests of packages by this program, see share.
const shareFlag = "-share"

// shared are the ends of the folders of packages whose tests wait for most of their time, each on a host of the test process: they are
// shared out among so many processes at once. One takes about half a processor, as each of the two packages that run beside it does;
// more would only make each other late on a small machine.
var shared = map[string]int{"/daemon/daemontest": 2}

// parts are into how many the tests of a shared package are dealt. Each costs the start of a host, and the last to end is to be short.
const parts = 10

// shareHere is share in the working folder, which go test makes that of the package.
func shareHere(program string, args []string) int {
	dir, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return share(dir, program, args, os.Stdout)
}

// share runs a package's tests as `go test -exec` asks for, and returns the exit code. Those of the shared packages run in several processes.
func share(dir, program string, args []string, out io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) // the tests get them too, and clean up
	defer stop()
	all, atOnce := [][]string{nil}, 1
	for end, processes := range shared {
		if !strings.HasSuffix(dir, end) || selects(args) {
			continue
		}
		names, err := testsOf(ctx, program)
		if err != nil {
			fmt.Fprintln(out, err)
			return 1
		}
		all, atOnce = deal(names, parts), processes
	}
	if err := runParts(ctx, program, args, all, atOnce, out); err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	return 0
}

// selects reports whether the arguments of a test program choose some tests.
func selects(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool {
		return strings.HasPrefix(a, "-test.run=") || strings.HasPrefix(a, "-test.skip=") || strings.HasPrefix(a, "-test.list=")
	})
}

// testsOf returns the names of all that a test program runs: of tests, fuzz tests' seeds and examples.
func testsOf(ctx context.Context, program string) ([]string, error) {
	cmd := exec.CommandContext(ctx, program, "-test.list=^(Test|Fuzz|Example)")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list tests: %w", err)
	}
	return strings.Fields(string(out)), nil
}

// deal shares names out among n parts like cards, so that neighbours, which are often alike, are apart.
func deal(names []string, n int) [][]string {
	all := make([][]string, min(n, max(len(names), 1)))
	for i, name := range names {
		all[i%len(all)] = append(all[i%len(all)], name)
	}
	return all
}

// runParts runs the tests of each part, of a nil one all, in a process, so many at once, until ctx ends.
func runParts(ctx context.Context, program string, args []string, all [][]string, atOnce int, out io.Writer) error {
	slots := make(chan struct{}, atOnce)
	errs := make([]error, len(all))
	var mu sync.Mutex // held while out is written to
	var running sync.WaitGroup
	for i, names := range all {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			errs[i] = runPart(ctx, program, args, names, &turns{mu: &mu, out: out})
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

func runPart(ctx context.Context, program string, args, names []string, out *turns) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if names != nil {
		args = append(slices.Clone(args), "-test.run=^("+strings.Join(names, "|")+")$")
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, args...)
	words, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start tests: %w", err)
	}
	err = errors.Join(out.pass(words), cmd.Wait())
	if err != nil && names != nil {
		err = fmt.Errorf("run %s: %w", strings.Join(names, " "), err)
	}
	return err
}

// turns passes on what one of several processes writes. What is written while a test runs comes in one piece, when it has ended: a reader
// takes it for that test's.
type turns struct {
	mu   *sync.Mutex
	out  io.Writer
	held []byte
	open int // tests that have begun and not ended
}

func (w *turns) pass(words io.Reader) error {
	lines := bufio.NewReader(words)
	for {
		line, err := lines.ReadBytes('\n')
		w.held = append(w.held, line...)
		w.open += change(line)
		if w.open == 0 || err != nil {
			w.mu.Lock()
			_, writeErr := w.out.Write(w.held)
			w.mu.Unlock()
			w.held = w.held[:0]
			if errors.Is(err, io.EOF) {
				return writeErr
			}
			if err = errors.Join(err, writeErr); err != nil {
				return fmt.Errorf("read what tests write: %w", err)
			}
		}
	}
}

// change is 1 where a line says that a test begins, -1 where one ends. Tests within tests do not count.
func change(line []byte) int {
	_, own, marked := bytes.Cut(line, []byte{0x16}) // package testing's mark of its own words, also in the middle of a line
	text := string(own)
	fields := strings.Fields(text)
	if !marked || len(fields) < 3 || strings.Contains(fields[2], "/") {
		return 0
	}
	switch {
	case strings.HasPrefix(text, "=== RUN "):
		return 1
	case strings.HasPrefix(text, "--- PASS: "), strings.HasPrefix(text, "--- FAIL: "), strings.HasPrefix(text, "--- SKIP: "):
		return -1
	}
	return 0
}
