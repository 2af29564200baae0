package main

import (
	"path/filepath"
	"testing"
	"time"

	"sandpool/scripts/faults/journal"
)

// TestLongRun injects enough, and each kind.
func TestLongRun(t *testing.T) {
	all := 0
	for _, s := range scenarios {
		n := s.count(options{long: true})
		all += n
		if n < s.rounds || n < 3*len(s.steps) {
			t.Errorf("%s is injected %d times; it has %d kinds and %d steps", s.name, n, s.rounds, len(s.steps))
		}
	}
	if all < 300 {
		t.Errorf("%d faults, want 300", all)
	}
}

func TestLeastCrashes(t *testing.T) {
	s := scenario{name: "crash", steps: []string{"a", "b"}}
	j := journal.New(1)
	for _, line := range []journal.Found{
		{Scenario: "crash", Round: 0}, {Scenario: "crash", Round: 1}, {Scenario: "crash", Round: 2},
		{Scenario: "crash", Round: 3, Faults: 1}, // it never came
		{Scenario: "crash", Round: journal.NoRound}, {Scenario: "kill", Round: 1},
	} {
		if err := j.Enter(line); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.leastCrashes(j); n != 1 {
		t.Errorf("%d, want 1", n)
	}
}

// TestOutcomeOf adds what rounds found, and the begin and the end of their rigs.
func TestOutcomeOf(t *testing.T) {
	j := journal.New(1)
	for _, line := range []journal.Found{
		{Scenario: "kill", Round: 3, Lost: 1, Recovery: time.Second}, {Scenario: "kill", Round: journal.NoRound, Leaked: 2, Faults: 1}, {Scenario: "crash", Lost: 1},
	} {
		if err := j.Enter(line); err != nil {
			t.Fatal(err)
		}
	}
	if out := outcomeOf(scenario{name: "kill"}, j); out.injected != 1 || out.lost != 1 || out.leaked != 2 || out.faults != 1 || len(out.recovery) != 1 {
		t.Errorf("outcome %+v", out)
	}
}

// TestBegin refuses what does not go with a long run, and another seed than the journal's.
func TestBegin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	for _, o := range []options{{short: true}, {rounds: 1}, {only: "kill"}, {steps: "x"}} {
		o.long, o.journal = true, path
		if _, err := begin(&o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	o := options{long: true, journal: path, seed: 5}
	if j, err := begin(&o); err != nil || j.Close() != nil {
		t.Fatal(err)
	}
	o = options{long: true, journal: path, seed: 6}
	if _, err := begin(&o); err == nil {
		t.Error("another seed is taken")
	}
	o = options{long: true, journal: path}
	if j, err := begin(&o); err != nil || o.seed != 5 || j.Close() != nil {
		t.Errorf("seed %d, %v; want that of the journal", o.seed, err)
	}
}
