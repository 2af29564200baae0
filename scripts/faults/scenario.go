package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"
)

// scenario is one kind of fault.
type scenario struct {
	name   string   // for -only
	fault  string   // for the table
	rounds int      // injections in a full run
	short  int      // injections in a short one
	silent bool     // the daemon need not notice: it is the fault itself, or nothing is broken
	steps  []string // of the daemon's, one for each round; other scenarios have none
	setup
	// inject injects the fault once, under load, and takes it away again. It runs with a whole pool, and all that it
	// broke is looked for after it.
	inject func(ctx context.Context, r *rig, round int) error
}

var scenarios = []scenario{
	{name: "crash", fault: "daemon killed at a named step", silent: true, rounds: len(steps), short: 5, steps: steps, inject: crashAtStep},
	{name: "kill", fault: "daemon killed at a random moment", silent: true, rounds: 4, short: 1, inject: killDaemon},
	{name: "victims", fault: "shim, gofer or sentry killed", rounds: 6, short: 3, inject: killServant},
	{name: "storm", fault: "storm of 64 clients", silent: true, rounds: 1, short: 1, setup: setup{target: 16, max: 16}, inject: storm},
	{name: "containerd-kill", fault: "containerd killed and restarted", rounds: 3, short: 1, inject: killContainerd},
	{name: "containerd-stop", fault: "containerd stopped past the deadlines", rounds: 2, short: 1, setup: setup{brief: true}, inject: stopContainerd},
	{name: "runsc", fault: "runsc hangs or fails", rounds: len(spoilers), short: 1, setup: setup{brief: true, wrapped: true}, inject: spoilRunsc},
	{name: "image", fault: "image removed while refilling", rounds: 2, short: 1, inject: removeImage},
	{name: "disk", fault: "disk full", rounds: 2, short: 1, setup: setup{brief: true, disk: diskSize}, inject: fillDisk},
	{name: "state", fault: "state folder read-only", rounds: 2, short: 1, setup: setup{brief: true, private: true}, inject: protectState},
}

// choose returns the scenarios that o asks for.
func choose(o options) ([]scenario, error) {
	if o.steps != "" {
		return chooseSteps(o.steps)
	}
	if o.only == "" {
		return scenarios, nil
	}
	var names []string
	for _, s := range scenarios {
		if s.name == o.only {
			return []scenario{s}, nil
		}
		names = append(names, s.name)
	}
	return nil, fmt.Errorf("no scenario %q: there are %s", o.only, strings.Join(names, ", "))
}

// chooseSteps returns the scenario that crashes the daemon at steps, with those only that match.
func chooseSteps(pattern string) ([]scenario, error) {
	match, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	s := scenarios[slices.IndexFunc(scenarios, func(s scenario) bool { return len(s.steps) > 0 })]
	s.steps = slices.DeleteFunc(slices.Clone(s.steps), func(step string) bool { return !match.MatchString(step) })
	if len(s.steps) == 0 {
		return nil, fmt.Errorf("no step matches %q: there are %s", pattern, strings.Join(steps, ", "))
	}
	s.rounds, s.short = len(s.steps), len(s.steps)
	return []scenario{s}, nil
}

// count is how many faults a run with o injects.
func (s scenario) count(o options) int {
	switch {
	case o.rounds > 0:
		return o.rounds
	case o.short:
		return s.short
	default:
		return s.rounds
	}
}

// run injects the faults one after another and looks after each for what it broke.
func (s scenario) run(ctx context.Context, o options) *outcome {
	began := time.Now()
	out := &outcome{fault: s.fault}
	if err := s.play(ctx, o, out); err != nil {
		out.note("error: %v", err)
	}
	fmt.Printf("%-16s %3d injected in %s\n", s.name, out.injected, time.Since(began).Round(time.Second))
	return out
}

func (s scenario) play(ctx context.Context, o options, out *outcome) (err error) {
	r, err := openRig(ctx, s.setup, out)
	if err != nil {
		return err
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.name))                   // a hash takes all
	r.rng = rand.New(rand.NewPCG(o.seed, h.Sum64())) //nolint:gosec // faults must be repeatable
	r.short, r.steps = o.short, s.steps
	defer func() {
		if err != nil || !out.good() {
			r.host.ShowLogs(80)
		}
		r.close(ctx)
	}()
	for _, round := range r.rng.Perm(max(s.count(o), s.rounds))[:s.count(o)] {
		before := r.alarms()
		if err := s.inject(ctx, r, round%s.rounds); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if !s.silent && r.alarms() == before {
			out.note("round %d broke nothing: the daemon has not logged a warning", round)
		}
		out.injected++
		if err := r.verify(ctx); err != nil {
			return fmt.Errorf("after round %d: %w", round, err)
		}
	}
	return r.finish(ctx)
}
