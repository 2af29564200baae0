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
}

var errFaulty = errors.New("the faults broke something")

func main() {
	var o options
	flag.Uint64Var(&o.seed, "seed", rand.Uint64()>>32, "repeat the choices of the run that printed this `number`") //nolint:gosec // no secret
	flag.IntVar(&o.rounds, "rounds", 0, "inject each fault this `number` of times")
	flag.StringVar(&o.only, "only", "", "run one scenario by its `name`")
	flag.StringVar(&o.steps, "steps", "", "crash at the steps that match a regular `expression`, and do nothing else")
	flag.BoolVar(&o.short, "short", false, "inject fewer faults")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

// run runs the scenarios that o asks for and prints the table.
func run(ctx context.Context, o options) error {
	chosen, err := choose(o)
	if err != nil {
		return err
	}
	began := time.Now()
	fmt.Printf("seed %d\n", o.seed)
	var outcomes []*outcome
	for _, s := range chosen {
		out := s.run(ctx, o)
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		outcomes = append(outcomes, out)
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
