package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"

	"sandpool/scripts/faults/journal"
)

// scenario is one kind of fault.
type scenario struct {
	name   string   // for -only
	fault  string   // for the table
	rounds int      // injections in a full run, each of another kind if there are kinds
	short  int      // injections in a short one
	long   int      // injections in a long one
	silent bool     // the daemon need not notice: it is the fault itself, or nothing is broken
	steps  []string // of the daemon's, one for each round; other scenarios have none
	setup
	// inject injects the fault once, under load, and takes it away again. It runs with a whole pool, and all that it
	// broke is looked for after it.
	inject func(ctx context.Context, r *rig, round int) error
}

var scenarios = []scenario{
	{name: "crash", fault: "daemon killed at a named step", silent: true, rounds: len(steps), short: 5, long: 3 * len(steps), steps: steps, inject: crashAtStep},
	{name: "kill", fault: "daemon killed at a random moment", silent: true, rounds: 4, short: 1, long: 48, inject: killDaemon},
	{name: "ctr", fault: "task changed by another program", silent: true, rounds: outsideRounds, short: 3, long: 2 * outsideRounds,
		setup: setup{target: 4, max: 12, hot: 1}, inject: changeTask},
	{name: "victims", fault: "shim, gofer or sentry killed", rounds: 6, short: 3, long: 24, inject: killServant},
	{name: "storm", fault: "storm of 64 clients", silent: true, rounds: 1, short: 1, long: 2, setup: setup{target: 16, max: 16}, inject: storm},
	{name: "containerd-kill", fault: "containerd killed and restarted", rounds: 3, short: 1, long: 24, inject: killContainerd},
	{name: "containerd-stop", fault: "containerd stopped past the deadlines", rounds: 2, short: 1, long: 6, setup: setup{brief: true}, inject: stopContainerd},
	{name: "runsc", fault: "runsc hangs or fails", rounds: len(spoilers), short: 1, long: 2 * len(spoilers), setup: setup{brief: true, wrapped: true}, inject: spoilRunsc},
	{name: "image", fault: "image removed while refilling", rounds: 2, short: 1, long: 6, inject: removeImage},
	{name: "disk", fault: "disk full", rounds: 2, short: 1, long: 4, setup: setup{brief: true, disk: diskSize}, inject: fillDisk},
	{name: "state", fault: "state folder read-only", rounds: 2, short: 1, long: 4, setup: setup{brief: true, private: true}, inject: protectState},
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
	case o.long:
		return s.long
	default:
		return s.rounds
	}
}

// chances is what is left to chance in one round, or before all of them with -1. It is the same whichever were played before.
func (s scenario) chances(o options, round int) *rand.Rand {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, s.name, round)             // a hash takes all
	return rand.New(rand.NewPCG(o.seed, h.Sum64())) //nolint:gosec // faults must be repeatable
}

// run injects the faults one after another, but for those in the journal, and looks after each for what it broke. All that it finds
// is entered in the journal.
func (s scenario) run(ctx context.Context, o options, j *journal.Journal) error {
	began := time.Now()
	order := s.chances(o, journal.NoRound).Perm(max(s.count(o), s.rounds))[:s.count(o)]
	left := slices.DeleteFunc(order, func(round int) bool { return j.Has(s.name, round) })
	todo := len(left)
	for failures := 0; len(left) > 0 && failures < mostFailures; failures++ {
		played, err := s.live(ctx, o, j, left)
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		left = left[played:]
		if err != nil && !o.long {
			break
		}
	}
	fmt.Printf("%-16s %3d injected in %s\n", s.name, todo-len(left), time.Since(began).Round(time.Second))
	return nil
}

// mostFailures is how often a long run begins a scenario anew that cannot go on.
const mostFailures = 5

// live plays rounds on one rig until one fails, or all are done. It returns how many it began. All that it finds is in the journal.
func (s scenario) live(ctx context.Context, o options, j *journal.Journal, rounds []int) (played int, err error) {
	out := &outcome{fault: s.fault} // of what belongs to no round
	defer func() {
		if context.Cause(ctx) != nil {
			return // what was broken off shows nothing
		}
		if err != nil {
			out.note("error: %v", err)
		}
		err = errors.Join(err, j.Enter(out.found(s.name, journal.NoRound)))
	}()
	r, err := openRig(ctx, s.setup, out)
	if err != nil {
		return 0, err
	}
	r.short, r.steps = o.short, s.steps
	good := true
	defer func() {
		if context.Cause(ctx) == nil && (err != nil || !good || !out.good()) {
			r.host.ShowLogs(80)
		}
		r.close(ctx)
	}()
	for _, round := range rounds {
		one := &outcome{fault: s.fault}
		r.rng, r.out = s.chances(o, round), one
		began := time.Now()
		err := s.round(ctx, r, round)
		r.out = out
		if context.Cause(ctx) != nil {
			return played, err
		}
		played++
		line := one.found(s.name, round)
		line.Took, line.On = time.Since(began), r.on
		if err := errors.Join(err, j.Enter(line)); err != nil {
			return played, fmt.Errorf("round %d: %w", round, err)
		}
		good = good && one.good()
	}
	return played, r.finish(ctx)
}

// round injects one fault and looks for what it broke.
func (s scenario) round(ctx context.Context, r *rig, round int) error {
	before := r.alarms()
	if err := s.inject(ctx, r, round%s.rounds); err != nil {
		return err
	}
	if err := r.verify(ctx); err != nil {
		return err
	}
	if !s.silent && r.alarms() == before { // asked only now: on a busy host the daemon may learn of it late
		r.out.note("round %d broke nothing: the daemon has not logged a warning", round)
	}
	return nil
}
