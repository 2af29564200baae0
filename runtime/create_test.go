package runtime

import (
	"maps"
	"slices"
	"testing"
)

// TestStartsAndEndsAskForWhatTheyNeed counts what a start and a destroy ask of containerd.
func TestStartsAndEndsAskForWhatTheyNeed(t *testing.T) {
	cfg, collecting := testConfig(t), false
	var e *Engine
	var collected []string
	cfg.Step = func(step string) {
		if collecting && step != "task started" {
			collected = append(collected, step)
			collect(t, e)
		}
	}
	e = openEngine(t, cfg)
	m := measure(t, e)
	id := startSandbox(t, e)
	want := map[string]int{"Containers/Create": 1, "Snapshots/Prepare": 1, "Tasks/Create": 1, "Tasks/Start": 1}
	if asked := m.taken(); !maps.Equal(asked, want) {
		t.Errorf("a start asked %v, want %v", asked, want)
	}
	if err := e.Destroy(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	want = map[string]int{"Tasks/Get": 1, "Tasks/Wait": 1, "Tasks/Delete": 1, "Containers/Delete": 1, "Snapshots/Remove": 1}
	if asked := m.taken(); !maps.Equal(asked, want) {
		t.Errorf("a destroy asked %v, want %v", asked, want)
	}
	expectNothing(t, id)

	// No lease keeps what a start makes from containerd's garbage collection.
	collecting = true
	id = startSandbox(t, e)
	collecting = false
	if !slices.Equal(collected, []string{"container created", "snapshot prepared", "task created"}) {
		t.Errorf("garbage was collected after %q", collected)
	}
	if code, out := run(t, e, id, "", "sh", "-c", "echo x >/etc/mine && cat /etc/mine"); code != 0 || out != "x\n" {
		t.Errorf("a command after that: exit code %d, %q", code, out)
	}
}
