package journal

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// TestJournal goes on where an earlier run was broken off, in the middle of a line even.
func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "journal")
	first := Found{Scenario: "kill", Round: 3, Lost: 1, Recovery: time.Second, Took: time.Minute, On: "a machine"}
	second := Found{Scenario: "kill", Round: NoRound, Leaked: 2, Faults: 1}
	j, err := Open(path, 7)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []Found{first, second} {
		if err := j.Enter(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
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
		if j, err = Open(path, 8); err != nil {
			t.Fatal(err)
		}
		if want := []Found{first, second}; j.seed != 7 || !reflect.DeepEqual(j.lines, want) {
			t.Errorf("journal of seed %d has %+v, want %+v", j.seed, j.lines, want)
		}
		if !j.Has("kill", 3) || j.Has("kill", 4) || j.Has("crash", 3) {
			t.Error("the journal has other rounds than were played")
		}
		if of := j.Of("kill"); len(of) != 2 || len(j.Of("crash")) != 0 {
			t.Errorf("of the one scenario it has %+v", of)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte("no journal\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, 9); err == nil {
		t.Error("what is no journal is taken for one")
	}
}
