package main

import (
	"context"
	"fmt"
	"strings"
)

// show is the demo proper: claim a sandbox, prove that it is gVisor, release it, measure.
func (d *demo) show(ctx context.Context) error {
	d.say("The pool is full of sandboxes that were started, proved ready and paused.")
	if err := d.showTasks(ctx); err != nil {
		return err
	}
	d.typed("ID=$(sandpool claim)")
	out, details, err := d.run(ctx, "sandpool", "claim")
	if err != nil {
		return err
	}
	d.print(details)
	id := strings.TrimSpace(out)
	if id == "" || len(strings.Fields(out)) != 1 {
		return fmt.Errorf("sandpool claim printed %q, want an id alone", out)
	}
	for _, command := range [][]string{{"cat", "/proc/version"}, {"dmesg"}} {
		if err := d.prove(ctx, id, command...); err != nil {
			return err
		}
	}
	if _, err := d.shown(ctx, "sandpool", "ls"); err != nil {
		return err
	}
	if _, err := d.shown(ctx, "sandpool", "release", id); err != nil {
		return err
	}
	d.say("Warm claims against cold starts, measured now:")
	_, err = d.shown(ctx, "sandpool", "bench", "--warm", "20", "--cold", "10")
	return err
}

// measure is `make bench`: one claim at a time, then as many at once as the pool holds.
func (d *demo) measure(ctx context.Context) error {
	if _, err := d.shown(ctx, "sandpool", "bench", "--exec", "--warm", "100", "--cold", "20"); err != nil {
		return err
	}
	_, err := d.shown(ctx, "sandpool", "bench", "--warm", "40", "--cold", "8", "--concurrency", "8")
	return err
}

// showTasks shows containerd's own view of the pool.
func (d *demo) showTasks(ctx context.Context) error {
	out, err := d.shown(ctx, "ctr", "-n", d.host.Namespace, "tasks", "ls")
	if err != nil {
		return err
	}
	pool, err := d.pool(ctx)
	if err != nil {
		return err
	}
	if paused := strings.Count(out, "PAUSED"); paused < pool.Target {
		return fmt.Errorf("containerd lists %d paused tasks; the pool's target is %d", paused, pool.Target)
	}
	return nil
}

// prove runs a command in the sandbox whose output names gVisor: its kernel, not the host's, answers.
func (d *demo) prove(ctx context.Context, id string, command ...string) error {
	d.typed("sandpool exec $ID -- " + quote(command))
	out, _, err := d.run(ctx, "sandpool", append([]string{"exec", id, "--"}, command...)...)
	if err != nil {
		return err
	}
	d.print(out)
	if !strings.Contains(strings.ToLower(out), "gvisor") {
		return fmt.Errorf("%s in sandbox %s does not speak of gVisor", quote(command), id)
	}
	return nil
}

// shown types a command, runs it, and shows and returns its output.
func (d *demo) shown(ctx context.Context, name string, args ...string) (string, error) {
	d.typed(quote(append([]string{name}, args...)))
	out, _, err := d.run(ctx, name, args...)
	d.print(out)
	return out, err
}
