package runtime

import (
	"context"
	"os"
	"testing"

	"github.com/containerd/errdefs"

	"sandpool/lifetime/wait"
	"sandpool/runtime/hostproc"
)

// TestCommandsLookNothingUp counts what commands ask of containerd, once their sandbox has a handle.
func TestCommandsLookNothingUp(t *testing.T) {
	e := openEngine(t, testConfig(t))
	m := measure(t, e)
	id := startSandbox(t, e)
	m.taken()
	shimFile := e.cfg.sandboxFile(id, shimSuffix)
	kept, err := os.ReadFile(shimFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(shimFile); err != nil { // so nobody reads it
		t.Fatal(err)
	}
	for range 2 {
		if code, out := run(t, e, id, "", "true"); code != 0 {
			t.Errorf("exit code %d: %s", code, out)
		}
	}
	if asked := m.taken(); len(asked) > 0 {
		t.Errorf("commands asked %v, want none", asked)
	}
	if err := os.WriteFile(shimFile, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	e.drop(id) // as of a daemon that has just started
	for range 2 {
		if code, out := run(t, e, id, "", "true"); code != 0 {
			t.Errorf("exit code %d: %s", code, out)
		}
	}
	if asked := m.taken(); len(asked) != 1 || asked["Containers/Get"] != 1 {
		t.Errorf("commands after a restart asked %v, want for the container once", asked)
	}
}

// TestHandlesEndWithTheirSandboxes has sandboxes that go away while they have a handle.
func TestHandlesEndWithTheirSandboxes(t *testing.T) {
	e := openEngine(t, testConfig(t))
	for name, end := range map[string]func(id string) error{
		"destroyed": func(id string) error { return e.Destroy(t.Context(), id) },
		"deleted by ctr": func(id string) error {
			if err := host.Command(t.Context(), "tasks", "rm", "-f", id).Run(); err != nil {
				return err
			}
			return host.Command(t.Context(), "containers", "rm", id).Run()
		},
	} {
		t.Run(name, func(t *testing.T) {
			id := startSandbox(t, e)
			if err := end(id); err != nil {
				t.Fatal(err)
			}
			if _, err := e.Exec(t.Context(), id, ExecSpec{Args: []string{"true"}}); !errdefs.IsNotFound(err) {
				t.Errorf("a command in it: %v, want that it is not found", err)
			}
			if e.handles.open[id] != nil {
				t.Error("there is still a handle on it")
			}
		})
	}
}

// TestLivesLookForNoProcesses counts, from the start of sandboxes to their end, the looks at all processes of the host.
func TestLivesLookForNoProcesses(t *testing.T) {
	e := openEngine(t, testConfig(t))
	ctx, stop := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	m := measure(t, e)
	go func() {
		watched <- e.Watch(ctx, func(string, Death) {}, func(context.Context, string, Status) {})
	}()
	for asked := map[string]int{}; asked["Containers/List"]+asked["Containers/ListStream"] == 0; asked = m.taken() { // of those that there are
		if err := wait.Sleep(t.Context(), wait.Interval); err != nil {
			t.Fatal(err)
		}
	}
	before := hostproc.Lists()
	ids := []string{startSandbox(t, e), startSandbox(t, e)}
	known := func(id string) bool {
		e.handles.mu.Lock()
		defer e.handles.mu.Unlock()
		return e.handles.serving[id] != nil
	}
	for _, id := range ids {
		for !known(id) {
			if err := wait.Sleep(t.Context(), wait.Interval); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := e.Pause(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if err := e.Destroy(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	stop()
	if err := <-watched; err != nil { // and what it told of their ends is done
		t.Error(err)
	}
	if looks := hostproc.Lists() - before; looks > 0 {
		t.Errorf("%d looks at all processes, want none", looks)
	}
	all, err := hostproc.List()
	for _, id := range ids {
		if left := all.Serving(id); err != nil || len(left) > 0 {
			t.Errorf("sandbox %s: %d processes are left, %v", id, len(left), err)
		}
	}
}

// TestTheInitIsHashedOnce replaces the file of the init.
func TestTheInitIsHashedOnce(t *testing.T) {
	path := t.TempDir() + "/init"
	var p program
	sum := func(want string) {
		t.Helper()
		if got, err := p.digest(path); err != nil || got != want {
			t.Errorf("digest %s, %v; want %s", got, err, want)
		}
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(path, "one")
	sum(digest([]byte("one")))
	p.sum = "kept"
	sum("kept")
	write(path+".new", "two")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	sum(digest([]byte("two")))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := p.digest(path); err == nil {
		t.Error("no error without the file")
	}
}
