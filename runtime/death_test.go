package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sandpool/runtime/hostproc"
	"sandpool/runtime/runsc"
	"sandpool/runtime/template"
)

func TestDeathReasons(t *testing.T) {
	exited := func(code int) *unix.WaitStatus { return new(unix.WaitStatus(code << 8)) }
	signaled := func(signal unix.Signal) *unix.WaitStatus { return new(unix.WaitStatus(signal)) }
	const memory, panicked = "it was killed for lack of memory", "panic: x"
	for _, test := range []struct {
		ending ending
		cause  string
		want   string
	}{
		{ending{status: 0, memory: memory}, CauseInit, "its init exited with status 0"}, // an earlier shortage that it outlived
		{ending{status: 143}, CauseInit, "its init was ended by signal 15 (exit status 143)"},
		{ending{status: 137}, CauseInit, "its init was ended by signal 9 (exit status 137)"},
		{ending{status: 137, sentry: exited(137), memory: memory}, CauseInit, "its init was ended by signal 9 (exit status 137)"},
		{ending{status: 128}, CauseUnknown, "its sentry ended (exit status 128): it was killed or crashed"},
		{ending{status: 128, memory: memory}, CauseMemory, memory},
		{ending{status: 128, memory: memory, sentry: signaled(unix.SIGKILL)}, CauseMemory, memory},
		{ending{status: 137, memory: memory, sentry: signaled(unix.SIGKILL)}, CauseMemory, memory},
		{ending{status: 128, memory: memory, panic: panicked, sentry: exited(2)}, CausePanic, "its sentry crashed: panic: x"},
		{ending{status: 128, panic: panicked}, CausePanic, "its sentry crashed: panic: x"},
		{ending{status: 128, sentry: exited(2)}, CausePanic, "its sentry crashed (exit status 2)"},
		{ending{status: 128, sentry: signaled(unix.SIGKILL)}, CauseSignal, "its sentry was killed by signal 9 (SIGKILL)"},
		{ending{status: 128, sentry: exited(137)}, CauseLost, "its shim lost sight of it (exit status 128) and ended it"},
	} {
		if got := test.ending.death(); got != (Death{test.cause, test.want}) || !slices.Contains(Causes, got.Cause) {
			t.Errorf("%+v: %+v, want %s: %s", test.ending, got, test.cause, test.want)
		}
	}
}

// A halted sandbox may have been revived before it is known how its earlier sentry ended: that is no death.
func TestDeathOfAnEarlierSentry(t *testing.T) {
	var deaths []string // written before wait returns
	e := &Engine{cfg: Config{StateDir: t.TempDir(), Namespace: "none"}}
	if err := os.MkdirAll(string(e.cfg.runscRoot()), 0o700); err != nil {
		t.Fatal(err)
	}
	g := newWatches(e, func(_ string, d Death) { deaths = append(deaths, d.Cause) }, nil)
	id := NewID()
	begin := func() (end func()) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "/bin/sh")
		cmd.Args = []string{"runsc-sandbox", "-c", "read -r _", id}
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			err = os.WriteFile(runscFile(e, id, ".state"), fmt.Appendf(nil, `{"sandbox":{"pid":%d}}`, cmd.Process.Pid), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			_ = in.Close()
		}
	}
	watch := func() {
		t.Helper()
		all, err := hostproc.List()
		sentry, found := all.Find(id, hostproc.Sentry)
		if err != nil || !found {
			t.Fatalf("%v, a sentry was found: %v", err, found)
		}
		g.hold(id, sentry)
	}
	end := begin()
	watch()
	end()
	end = begin()
	g.exited(id, exitLost)
	g.under.Wait()
	if len(deaths) > 0 {
		t.Errorf("deaths %q beside a sentry that runs", deaths)
	}
	watch()
	end()
	g.exited(id, exitLost)
	g.under.Wait()
	if !slices.Equal(deaths, []string{CauseSignal}) && !slices.Equal(deaths, []string{CauseUnknown}) { // before Linux 6.15
		t.Errorf("deaths %q, want one by a signal", deaths)
	}
}

// Each way in which a sandbox can end has its own cause, in the event and, but for what only the kernel can tell, in a list.
func TestDeathsSayTheirCause(t *testing.T) {
	cfg := testConfig(t)
	cfg.Settings["panic-signal"] = runsc.Setting{Value: "12"} // SIGUSR2
	e := openEngine(t, cfg)
	small := template.Template{Image: "file://" + host.Image, Limits: template.Limits{Memory: 128 << 20}}
	if err := prepare(t.Context(), e, "small", small); err != nil {
		t.Fatal(err)
	}
	type death struct {
		id string
		Death
	}
	deaths := make(chan death, 8)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- e.Watch(ctx, func(id string, d Death) { deaths <- death{id, d} }, func(context.Context, string, Status) {})
	}()
	for _, test := range []struct {
		name   string
		end    func(t *testing.T, id string) error
		cause  string
		reason string
		listed string // what a list says that did not see the end
	}{
		{"memory", func(t *testing.T, id string) error {
			p, err := e.Exec(t.Context(), id, ExecSpec{Args: []string{"sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=60; tail /dev/zero"}})
			if err == nil {
				_, err = p.Wait(t.Context())
			}
			return err
		}, CauseMemory, "it was killed for lack of memory: its limit is 128 MiB (memory_mib)", "its limit is 128 MiB"},
		{"kill", func(t *testing.T, id string) error { return hostproc.Kill(t.Context(), id, hostproc.Sentry) },
			CauseSignal, "its sentry was killed by signal 9 (SIGKILL)", "it was killed or crashed"},
		{"panic", func(_ *testing.T, id string) error { return signalSentry(id, unix.SIGUSR2) },
			CausePanic, "its sentry crashed: panic: ", "its sentry crashed: panic: "},
		{"shim's wait", func(t *testing.T, id string) error { return hostproc.Kill(t.Context(), id, hostproc.Command) },
			CauseLost, "its shim lost sight of it (exit status 128) and ended it", "it was killed or crashed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			id := startFrom(t, e, "small")
			if err := test.end(t, id); err != nil {
				t.Fatal(err)
			}
			if d := <-deaths; d.id != id || d.Cause != test.cause || !strings.HasPrefix(d.Reason, test.reason) {
				t.Errorf("got %+v, want %s of %s: %s", d, test.cause, id, test.reason)
			}
			listed, err := e.List(t.Context())
			at := slices.IndexFunc(listed, func(l Listed) bool { return l.ID == id })
			if err != nil || at < 0 || listed[at].Status != Stopped || !strings.Contains(listed[at].Reason, test.listed) {
				t.Errorf("list: %+v, %v; want %s with %q", listed, err, id, test.listed)
			}
			if err := e.Destroy(t.Context(), id); err != nil {
				t.Error(err)
			}
			expectNothing(t, id)
		})
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// signalSentry sends a signal to the sentry of a sandbox, as an operator would.
func signalSentry(id string, signal unix.Signal) error {
	all, err := hostproc.List()
	sentry, found := all.Find(id, hostproc.Sentry)
	if err != nil || !found {
		return errors.Join(err, errors.New("it has no sentry"))
	}
	return unix.Kill(sentry.PID, signal)
}
