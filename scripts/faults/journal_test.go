package main

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
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

// TestJournal goes on where an earlier run was broken off, in the middle of a line even.
func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "journal")
	first := found{Scenario: "kill", Round: 3, Lost: 1, Recovery: time.Second, Took: time.Minute, On: "a machine"}
	second := found{Scenario: "kill", Round: noRound, Leaked: 2, Faults: 1}
	j, err := openJournal(path, 7)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []found{first, second} {
		if err := j.enter(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"scenario":"ki`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the half line is gone for good
		if j, err = openJournal(path, 8); err != nil {
			t.Fatal(err)
		}
		if want := []found{first, second}; j.seed != 7 || !reflect.DeepEqual(j.lines, want) {
			t.Errorf("journal of seed %d has %+v, want %+v", j.seed, j.lines, want)
		}
		if !j.has("kill", 3) || j.has("kill", 4) || j.has("crash", 3) {
			t.Error("the journal has other rounds than were played")
		}
		if out := j.outcome(scenario{name: "kill"}); out.injected != 1 || out.lost != 1 || out.leaked != 2 || out.faults != 1 || len(out.recovery) != 1 {
			t.Errorf("outcome %+v", out)
		}
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte("no journal\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openJournal(path, 9); err == nil {
		t.Error("what is no journal is taken for one")
	}
}

func TestLeastCrashes(t *testing.T) {
	s := scenario{name: "crash", steps: []string{"a", "b"}}
	j := &journal{lines: []found{
		{Scenario: "crash", Round: 0}, {Scenario: "crash", Round: 1}, {Scenario: "crash", Round: 2},
		{Scenario: "crash", Round: 3, Faults: 1}, // it never came
		{Scenario: "crash", Round: noRound}, {Scenario: "kill", Round: 1},
	}}
	if n := j.leastCrashes(s); n != 1 {
		t.Errorf("%d, want 1", n)
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
	if j, err := begin(&o); err != nil || j.close() != nil {
		t.Fatal(err)
	}
	o = options{long: true, journal: path, seed: 6}
	if _, err := begin(&o); err == nil {
		t.Error("another seed is taken")
	}
	o = options{long: true, journal: path}
	if j, err := begin(&o); err != nil || o.seed != 5 || j.close() != nil {
		t.Errorf("seed %d, %v; want that of the journal", o.seed, err)
	}
}
