package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"sandpool/daemon/client"
)

// scenario is a way in which users come by a sandbox, with the figures that the project's brief has for it, in seconds; 0: none.
type scenario struct {
	name   string
	flag   string
	kind   kind
	usage  string
	brief  spread
	target float64 // of the p50
}

// spread is three percentiles, in seconds.
type spread struct {
	P50 float64 `json:"p50_s"`
	P95 float64 `json:"p95_s"`
	P99 float64 `json:"p99_s"`
}

var scenarios = []scenario{
	{"empty sandbox", "empty", kindCold, "cold starts of these templates, which hold an image and run nothing", spread{1.2, 2.1, 3.5}, 1.5},
	{"with dependencies", "deps", kindCold, "cold starts of these, until what they run has loaded its dependencies", spread{2.5, 4.2, 6.0}, 3},
	{"with build cache", "cache", kindCold, "cold starts of these, whose image also holds what a build left", spread{1.8, 3.0, 4.5}, 0},
	{"from the warm pool", "pool", kindWarm, "claims of these from their pool, which must keep one ready", spread{.3, .5, .8}, .5},
	{"from a warm template", "snapshot", kindTemplate, "claims of these that go on from the template's snapshot; their pool must keep nothing ready", spread{}, 0},
}

// coldStart is what is to be measured.
type coldStart struct {
	daemon    *client.Client
	rounds    int
	templates map[string]*[]string // by the scenario's flag
	svg       string               // file to write a plot to; may be empty
}

func (a *app) coldStartCommand() *cobra.Command {
	c := coldStart{daemon: &a.daemon, templates: map[string]*[]string{}}
	cmd := &cobra.Command{
		Use:   "cold-start",
		Short: "Time cold starts of several kinds beside claims from pools and warm templates",
		Long: "Time how long users wait for a sandbox, in rounds that claim each kind once, so that all meet the same state of the machine. Each is\n" +
			"timed here, from call to reply, once all pools are full and quiet, with the phases that the daemon tells of its start. A claim that was\n" +
			"served in another way than was meant is counted apart and not mixed in.",
		Args: func(cmd *cobra.Command, args []string) error { return errors.Join(cobra.NoArgs(cmd, args), c.check()) },
		RunE: func(cmd *cobra.Command, _ []string) error { return a.coldStart(cmd.Context(), c) },
	}
	flags := cmd.Flags()
	flags.IntVar(&c.rounds, "rounds", 10, "claim each kind so often")
	flags.StringVar(&c.svg, "svg", "", "also write a plot to this file")
	for _, s := range scenarios {
		c.templates[s.flag] = flags.StringSlice(s.flag, nil, s.usage)
	}
	return cmd
}

func (c coldStart) check() error {
	for _, templates := range c.templates {
		if len(*templates) > 0 && c.rounds > 0 {
			return nil
		}
	}
	return errors.New("want at least one round, and a template for at least one of --empty, --deps, --cache, --pool and --snapshot")
}

func (a *app) coldStart(ctx context.Context, c coldStart) error {
	info, err := a.daemon.Info(ctx)
	if err != nil {
		return err
	}
	report := coldReport{Rounds: c.rounds, Machine: thisMachine(info)} // before the bench itself is the load
	if report.Rows, err = c.run(ctx, func(round int) { _, _ = fmt.Fprintf(a.errOut, "round %d of %d\n", round, c.rounds) }); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if c.svg != "" {
		if err := os.WriteFile(c.svg, report.plot(), 0o644); err != nil { //nolint:gosec // a picture for everyone
			return fmt.Errorf("write plot: %w", err)
		}
	}
	return a.print(report, report.write)
}

// run claims every kind once in each round, and returns what it measured in the order of the scenarios.
func (c coldStart) run(ctx context.Context, began func(round int)) ([]coldRow, error) {
	type series struct {
		scenario
		bench

		samples []sample
	}
	var all []*series
	for _, s := range scenarios {
		for _, template := range *c.templates[s.flag] {
			one := &series{scenario: s, bench: bench{daemon: c.daemon, template: template}}
			if s.kind == kindWarm {
				one.warm = 1
			}
			all = append(all, one)
		}
	}
	for round := range c.rounds {
		began(round + 1)
		for _, one := range all {
			for _, other := range all { // what another pool starts would disturb this
				if err := other.settle(ctx); err != nil {
					return nil, err
				}
			}
			measured, err := one.measure(ctx, one.kind)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", one.template, err)
			}
			one.samples = append(one.samples, measured)
		}
	}
	rows := make([]coldRow, len(all))
	for i, one := range all {
		rows[i] = newColdRow(one.scenario, one.template, one.samples)
	}
	return rows, nil
}
