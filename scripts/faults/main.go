// Command faults injects faults into a running sandpoold and counts what they broke: `make test-faults` runs it.
//
// Each scenario has a containerd, a daemon and clients of its own, on the real stack. It ends with a table of double claims,
// leaks and lost claims. All that is left to chance follows from one seed, which is printed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	seed   uint64
	rounds int    // of each scenario; 0: its own number
	only   string // name of one scenario; empty: all
	steps  string // pattern of the steps to crash at; empty: all
	short  bool
	atOnce int // scenarios that run side by side
}

var errFaulty = errors.New("the faults broke something")

func main() {
	var o options
	flag.Uint64Var(&o.seed, "seed", rand.Uint64()>>32, "repeat the choices of the run that printed this `number`") //nolint:gosec // no secret
	flag.IntVar(&o.rounds, "rounds", 0, "inject each fault this `number` of times")
	flag.StringVar(&o.only, "only", "", "run one scenario by its `name`")
	flag.StringVar(&o.steps, "steps", "", "crash at the steps that match a regular `expression`, and do nothing else")
	flag.BoolVar(&o.short, "short", false, "inject fewer faults")
	flag.IntVar(&o.atOnce, "at-once", 1, "run this `number` of scenarios side by side: quicker, but recovery is slower")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

// runAll runs scenarios, o.atOnce at a time, and returns an outcome for each.
func runAll(ctx context.Context, chosen []scenario, o options) []*outcome {
	outcomes := make([]*outcome, len(chosen))
	var all sync.WaitGroup
	lanes := make(chan struct{}, max(o.atOnce, 1))
	for i, s := range chosen {
		lanes <- struct{}{}
		all.Go(func() {
			outcomes[i] = s.run(ctx, o)
			<-lanes
		})
	}
	all.Wait()
	return outcomes
}

// run runs the scenarios that o asks for and prints the table.
func run(ctx context.Context, o options) error {
	chosen, err := choose(o)
	if err != nil {
		return err
	}
	began := time.Now()
	fmt.Printf("seed %d\n", o.seed)
	outcomes := runAll(ctx, chosen, o)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	fmt.Println()
	if err := printTable(os.Stdout, outcomes); err != nil {
		return err
	}
	fmt.Printf("\nseed %d, %s\n", o.seed, time.Since(began).Round(time.Second))
	for _, out := range outcomes {
		if !out.good() {
			return errFaulty
		}
	}
	return nil
}
