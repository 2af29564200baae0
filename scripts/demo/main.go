// Command demo shows the whole of sandpool on a private containerd: `make demo` runs it.
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

	"sandpool/scripts/testhost"
)

func main() {
	bench := flag.Bool("bench", false, "measure at length instead of showing")
	cold := flag.Bool("cold", false, "measure cold starts of the images that make images builds, instead of showing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *bench, *cold)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run starts a host and a daemon, shows or measures, and removes them. Whatever goes wrong, or is left, is an error.
func run(ctx context.Context, bench, cold bool) (err error) {
	start := time.Now()
	host, err := testhost.Start(ctx, testhost.Options{})
	if err != nil {
		return err
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
		return err
	}
	d.cold = cold
	if err := d.startDaemon(ctx); err != nil {
		return cmp.Or(context.Cause(ctx), err) // what an interrupt broke says less than the interrupt
	}
	steps := d.show
	switch {
	case cold:
		steps = d.measureCold
	case bench:
		steps = d.measure
	}
	if err := steps(ctx); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	return d.stopDaemon(ctx)
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
