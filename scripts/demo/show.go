package main

import (
	"context"
	"fmt"
	"strings"
)

// show is the demo proper: claim a sandbox, prove that it is gVisor, release it, save and restore another, measure.
func (d *demo) show(ctx context.Context) error {
	d.say("The pool is full of sandboxes that were started, proved ready and paused.")
	if err := d.showTasks(ctx); err != nil {
		return err
	}
	id, err := d.named(ctx, "ID=$(sandpool claim)", "claim")
	if err != nil {
		return err
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
	if err := d.showRestore(ctx); err != nil {
		return err
	}
	d.say("Warm claims against cold starts, measured now:")
	_, err = d.shown(ctx, "sandpool", "bench", "--warm", "20", "--cold", "10")
	return err
}

// measure is `make bench`: one claim at a time, then as many at once as the pool holds, then restores.
func (d *demo) measure(ctx context.Context) error {
	if _, err := d.shown(ctx, "sandpool", "bench", "--exec", "--warm", "100", "--cold", "20"); err != nil {
		return err
	}
	if _, err := d.shown(ctx, "sandpool", "bench", "--warm", "40", "--cold", "8", "--concurrency", "8"); err != nil {
		return err
	}
	if err := d.showRestore(ctx); err != nil {
		return err
	}
	_, err := d.shown(ctx, "sandpool", "bench", "--exec", "--template", "python", "--warm", "0", "--cold", "15", "--restored", "15")
	return err
}

// showRestore saves an interpreter and proves that what goes on from there is the same process, ready at once.
func (d *demo) showRestore(ctx context.Context) error {
	d.say("An interpreter that has loaded many modules, saved and restored. It counts what it is asked:")
	id, err := d.named(ctx, "ID=$(sandpool claim --template python)", "claim", "--template", "python")
	if err != nil {
		return err
	}
	if err := d.ask(ctx, id, "1"); err != nil {
		return err
	}
	saved, err := d.named(ctx, "CHECKPOINT=$(sandpool checkpoint --stop $ID)", "checkpoint", "--stop", id)
	if err != nil {
		return err
	}
	if id, err = d.named(ctx, "ID=$(sandpool claim --checkpoint $CHECKPOINT)", "claim", "--checkpoint", saved); err != nil {
		return err
	}
	if err := d.ask(ctx, id, "2"); err != nil {
		return err
	}
	if _, err := d.shown(ctx, "sandpool", "release", id); err != nil {
		return err
	}
	_, err = d.shown(ctx, "sandpool", "checkpoints", "rm", saved)
	return err
}

// ask asks a sandbox's interpreter how often it was asked.
func (d *demo) ask(ctx context.Context, id, want string) error {
	command := []string{"sh", "-c", "test -e /tmp/ready && echo asked > /tmp/ask && cat /tmp/answer"}
	d.typed("sandpool exec $ID -- " + quote(command))
	out, _, err := d.run(ctx, "sandpool", append([]string{"exec", id, "--"}, command...)...)
	if err != nil {
		return err
	}
	d.print(out)
	if got := strings.TrimSpace(out); got != want {
		return fmt.Errorf("the interpreter of %s answers %q, want %s", id, got, want)
	}
	return nil
}

// named types a command whose output is put into a variable, and returns that output, which must be an id alone.
func (d *demo) named(ctx context.Context, typed string, args ...string) (string, error) {
	d.typed(typed)
	out, details, err := d.run(ctx, "sandpool", args...)
	if err != nil {
		return "", err
	}
	d.print(details)
	if len(strings.Fields(out)) != 1 {
		return "", fmt.Errorf("sandpool %s printed %q, want an id alone", quote(args), out)
	}
	return strings.TrimSpace(out), nil
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
