package testhost

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Main is the body of a TestMain: it clears the environment, starts a host, sets *host to it, runs the tests, and closes the host, also when
// the tests are interrupted. It returns the exit code, which is not 0 when the host could not be cleaned up. Tests that are only listed
// get no host.
//
// The process id is added to the namespace: two runs of the same tests must not see each other's cgroups.
func Main(m interface{ Run() int }, opts Options, host **Host) int {
	if dir := os.Getenv(rootEnv); dir != "" {
		fmt.Fprintln(os.Stderr, becomeSystemd(dir))
		return 1
	}
	ClearEnv()
	if flag.Parse(); flag.Lookup("test.list").Value.String() != "" {
		return m.Run()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	opts.Namespace = fmt.Sprintf("%s-%d", cmp.Or(opts.Namespace, DefaultNamespace), os.Getpid())
	h, err := Start(ctx, opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	*host = h
	finish := sync.OnceValue(h.Close)
	finished := make(chan struct{})
	var interrupts sync.WaitGroup
	interrupts.Go(func() {
		select {
		case <-ctx.Done():
			fmt.Fprintln(os.Stderr, "interrupted:", finish())
			os.Exit(1)
		case <-finished:
		}
	})
	code := m.Run()
	close(finished)
	interrupts.Wait()
	if code != 0 {
		h.ShowLogs(40)
	}
	if err := finish(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
