package bench

import (
	"context"
	"errors"
	"fmt"

	"sandpool/daemon/client"
)

// Scenario is a way in which users come by a sandbox, with the figures that the project's brief has for it, in seconds; 0: none.
type Scenario struct {
	Flag   string // that names templates of it, and what that says of itself
	Usage  string
	name   string
	kind   kind
	brief  Spread
	target float64 // of the p50
}

// Spread is three percentiles, in seconds.
type Spread struct {
	P50 float64 `json:"p50_s"`
	P95 float64 `json:"p95_s"`
	P99 float64 `json:"p99_s"`
}

// Scenarios are all of them, in the order of the report.
var Scenarios = []Scenario{
	{"empty", "cold starts of these templates, which hold an image and run nothing", "empty sandbox", kindCold, Spread{1.2, 2.1, 3.5}, 1.5},
	{"deps", "cold starts of these, until what they run has loaded its dependencies", "with dependencies", kindCold, Spread{2.5, 4.2, 6.0}, 3},
	{"cache", "cold starts of these, whose image also holds what a build left", "with build cache", kindCold, Spread{1.8, 3.0, 4.5}, 0},
	{"pool", "claims of these from their pool, which must keep one ready", "from the warm pool", kindWarm, Spread{.3, .5, .8}, .5},
	{"snapshot", "claims of these that go on from the template's snapshot; their pool must keep nothing ready", "from a warm template", kindTemplate, Spread{}, 0},
}

// ColdStart is what is to be measured.
type ColdStart struct {
	Daemon    *client.Client
	Rounds    int
	Templates map[string]*[]string // by the scenario's flag
}

// Check tells what is missing.
func (c ColdStart) Check() error {
	for _, templates := range c.Templates {
		if len(*templates) > 0 && c.Rounds > 0 {
			return nil
		}
	}
	return errors.New("want at least one round, and a template for at least one of --empty, --deps, --cache, --pool and --snapshot")
}

// Run claims every kind once in each round, and reports what it measured in the order of the scenarios. began is told of each round.
func (c ColdStart) Run(ctx context.Context, began func(round int)) (ColdReport, error) {
	info, err := c.Daemon.Info(ctx)
	if err != nil {
		return ColdReport{}, err
	}
	report := ColdReport{Rounds: c.Rounds, Machine: thisMachine(info)} // before the bench itself is the load
	if report.Rows, err = c.run(ctx, began); err != nil {
		return ColdReport{}, fmt.Errorf("bench: %w", err)
	}
	return report, nil
}

func (c ColdStart) run(ctx context.Context, began func(round int)) ([]ColdRow, error) {
	type series struct {
		Scenario
		Bench

		samples []sample
	}
	var all []*series
	for _, s := range Scenarios {
		for _, template := range *c.Templates[s.Flag] {
			one := &series{Scenario: s, Bench: Bench{Daemon: c.Daemon, Template: template}}
			if s.kind == kindWarm {
				one.Warm = 1
			}
			all = append(all, one)
		}
	}
	for round := range c.Rounds {
		began(round + 1)
		for _, one := range all {
			for _, other := range all { // what another pool starts would disturb this
				if err := other.settle(ctx); err != nil {
					return nil, err
				}
			}
			measured, err := one.measure(ctx, one.kind)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", one.Template, err)
			}
			one.samples = append(one.samples, measured)
		}
	}
	rows := make([]ColdRow, len(all))
	for i, one := range all {
		rows[i] = newColdRow(one.Scenario, one.Template, one.samples)
	}
	return rows, nil
}
