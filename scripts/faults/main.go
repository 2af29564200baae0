// Command faults injects faults into a running sandpoold and counts what they broke: `make test-faults` runs it.
//
// Each scenario has a containerd, a daemon and clients of its own, on the real stack. It ends with a table of double claims,
// leaks and lost claims. All that is left to chance follows from one seed, which is printed.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"sandpool/scripts/faults/journal"
)

// options are the command line.
type options struct {
	seed    uint64
	rounds  int    // of each scenario; 0: its own number
	only    string // name of one scenario; empty: all
	steps   string // pattern of the steps to crash at; empty: all
	short   bool
	long    bool
	atOnce  int    // scenarios that run side by side
	journal string // file of a long run
}

var errFaulty = errors.New("the faults broke something")

func main() {
	var o options
	flag.Uint64Var(&o.seed, "seed", 0, "repeat the choices of the run that printed this `number`")
	flag.IntVar(&o.rounds, "rounds", 0, "inject each fault this `number` of times")
	flag.StringVar(&o.only, "only", "", "run one scenario by its `name`")
	flag.StringVar(&o.steps, "steps", "", "crash at the steps that match a regular `expression`, and do nothing else")
	flag.BoolVar(&o.short, "short", false, "inject fewer faults")
	flag.IntVar(&o.atOnce, "at-once", 1, "run this `number` of scenarios side by side: quicker, but recovery is slower")
	flag.BoolVar(&o.long, "long", false, "inject many faults; a run that was broken off goes on where it was")
	flag.StringVar(&o.journal, "journal", ".build/faults-long.jsonl", "the `file` that a long run goes on from")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

// begin opens the journal that o asks for and takes the seed from it.
func begin(o *options) (*journal.Journal, error) {
	if !o.long {
		o.seed = cmp.Or(o.seed, rand.Uint64()>>32) //nolint:gosec // no secret
		return journal.New(o.seed), nil
	}
	if o.short || o.rounds > 0 || o.only != "" || o.steps != "" {
		return nil, errors.New("a long run injects all faults as often as it is meant to: leave out -short, -rounds, -only and -steps")
	}
	j, err := journal.Open(o.journal, cmp.Or(o.seed, rand.Uint64()>>32)) //nolint:gosec // no secret
	if err != nil {
		return nil, err
	}
	if o.seed != 0 && o.seed != j.Seed() {
		return nil, errors.Join(fmt.Errorf("journal %s is of seed %d: leave out -seed to go on from it, or remove it to begin anew", o.journal, j.Seed()), j.Close())
	}
	o.seed = j.Seed()
	return j, nil
}

// runAll runs scenarios, o.atOnce at a time.
func runAll(ctx context.Context, chosen []scenario, o options, j *journal.Journal) error {
	var all errgroup.Group
	all.SetLimit(max(o.atOnce, 1))
	for _, s := range chosen {
		all.Go(func() error { return s.run(ctx, o, j) })
	}
	return all.Wait()
}

// run runs the scenarios that o asks for and prints the table.
func run(ctx context.Context, o options) (err error) {
	chosen, err := choose(o)
	if err != nil {
		return err
	}
	j, err := begin(&o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	began := time.Now()
	fmt.Printf("seed %d\n", o.seed)
	if err := runAll(ctx, chosen, o, j); err != nil {
		return err
	}
	fmt.Println()
	if o.long {
		fmt.Printf("%s\n\n", j.Summary())
	}
	if err := report(chosen, j); err != nil {
		return err
	}
	fmt.Printf("\nseed %d, %s\n", o.seed, time.Since(began).Round(time.Second))
	for _, s := range chosen {
		if !outcomeOf(s, j).good() {
			return errFaulty
		}
	}
	return nil
}

// report prints what was found as a table.
func report(chosen []scenario, j *journal.Journal) error {
	var outcomes []*outcome
	for _, s := range chosen {
		outcomes = append(outcomes, outcomeOf(s, j))
	}
	if err := printTable(os.Stdout, outcomes); err != nil {
		return err
	}
	injected := 0
	for _, out := range outcomes {
		injected += out.injected
	}
	fmt.Printf("\n%d faults\n", injected)
	for _, s := range chosen {
		if len(s.steps) > 0 {
			fmt.Printf("each of %d named steps at least %d times\n", len(s.steps), s.leastCrashes(j))
		}
	}
	return nil
}
