// Command demo shows the whole of sandpool on a private containerd: `make demo` runs it, and `make shell` lends it to its user.
//
// It starts the real programs, types what a user would, and stops and removes all of it, also when it is interrupted.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"sandpool/scripts/testhost"
)

func main() {
	bench := flag.Bool("bench", false, "measure at length instead of showing")
	cold := flag.Bool("cold", false, "measure cold starts of the images that make images builds, instead of showing")
	idle := flag.Bool("idle", false, "measure what a large pool costs that nobody uses, instead of showing")
	shell := flag.Bool("shell", false, "open a shell instead of showing, and exit with its code unless somebody typed in it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code, err := run(ctx, *bench, *cold, *idle, *shell)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) { // else it is that of whatever was typed last
		os.Exit(code)
	}
}

// run starts a host and a daemon, shows, measures or opens a shell, whose exit code it returns, and removes them. Whatever goes
// wrong, or is left, is an error.
func run(ctx context.Context, bench, cold, idle, shell bool) (code int, err error) {
	start := time.Now()
	host, err := testhost.Start(ctx, testhost.Options{})
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil && ctx.Err() == nil { //nolint:forbidigo // whether, not why
			host.Logs(os.Stderr, 20)
		}
		err = errors.Join(err, host.Close())
		if err == nil {
			fmt.Printf("\nAll is stopped and nothing is left behind. It took %s.\n", time.Since(start).Round(100*time.Millisecond))
		}
	}()
	d, err := newDemo(host, os.Stdout)
	if err != nil {
		return 0, err
	}
	d.cold, d.idle = cold, idle
	if err := d.startDaemon(ctx); err != nil {
		return 0, cmp.Or(context.Cause(ctx), err) // what an interrupt broke says less than the interrupt
	}
	if shell {
		code, err = d.openShell(ctx)
		return code, errors.Join(err, d.closeDaemon())
	}
	if idle {
		return 0, d.measureIdle(ctx)
	}
	steps := d.show
	switch {
	case cold:
		steps = d.measureCold
	case bench:
		steps = d.measure
	}
	if err := steps(ctx); err != nil {
		return 0, cmp.Or(context.Cause(ctx), err)
	}
	return 0, d.stopDaemon(ctx)
}

// quote writes a command as one would type it.
func quote(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = arg
		if arg == "" || strings.ContainsAny(arg, " '\"$|&;<>*?()") {
			words[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
