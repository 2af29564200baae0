package main

import (
	"bufio"
	"context"
	"fmt"
	"regexp"
	"strings"
)

// show is the demo proper: claim a sandbox, prove that it is gVisor, fork another, let a third come to its end, and resume that.
func (d *demo) show(ctx context.Context) error {
	d.say("Eight sandboxes were started, proved ready and paused. One is claimed:")
	if err := d.checkPaused(ctx); err != nil {
		return err
	}
	id, err := d.named(ctx, "ID=$(sandpool claim)", "claim")
	if err != nil {
		return err
	}
	if err := d.prove(ctx, id, "cat", "/proc/version"); err != nil {
		return err
	}
	if _, err := d.shown(ctx, "sandpool", "release", id); err != nil {
		return err
	}
	if err := d.showFork(ctx); err != nil {
		return err
	}
	return d.showEnd(ctx)
}

// showFork asks an interpreter, forks its sandbox, and asks both: each has counted what was asked before.
func (d *demo) showFork(ctx context.Context) error {
	d.say("A Python interpreter that counts what it is asked. Its sandbox is forked, and both go on counting:")
	id, err := d.interpreter(ctx)
	if err != nil {
		return err
	}
	fork, err := d.named(ctx, "FORK=$(sandpool fork $ID)", "fork", id)
	if err != nil {
		return err
	}
	if err := d.ask(ctx, "$ID", id, "2"); err != nil {
		return err
	}
	if err := d.ask(ctx, "$FORK", fork, "2"); err != nil {
		return err
	}
	_, err = d.shown(ctx, "sandpool", "release", id, fork)
	return err
}

// showEnd lets a claim of an interpreter come to its end, in which it is warned and saved, and resumes it.
func (d *demo) showEnd(ctx context.Context) error {
	d.say("A claim with 80 seconds to live. It is warned, saved and stopped; what was saved is resumed:")
	id, err := d.interpreter(ctx, "--type", "short")
	if err != nil {
		return err
	}
	saved, err := d.watchEnd(ctx, id)
	if err != nil {
		return err
	}
	return d.resume(ctx, saved, saved)
}

// interpreter claims an interpreter, and asks it for the first time.
func (d *demo) interpreter(ctx context.Context, flags ...string) (id string, err error) {
	args := append([]string{"claim", "--template", "python"}, flags...)
	if id, err = d.named(ctx, "ID=$(sandpool "+quote(args)+")", args...); err != nil {
		return "", err
	}
	return id, d.ask(ctx, "$ID", id, "1")
}

// resume claims an interpreter from a checkpoint, which the reader knows by a name, and asks it for the second time.
func (d *demo) resume(ctx context.Context, name, checkpoint string) error {
	id, err := d.named(ctx, "ID=$(sandpool claim --checkpoint "+name+")", "claim", "--checkpoint", checkpoint)
	if err != nil {
		return err
	}
	if err := d.ask(ctx, "$ID", id, "2"); err != nil {
		return err
	}
	_, err = d.shown(ctx, "sandpool", "release", id)
	return err
}

var checkpointID = regexp.MustCompile(`\bck-[a-z2-7]{16}\b`)

// watchEnd shows the events of a claim until it is saved, and returns its checkpoint.
func (d *demo) watchEnd(ctx context.Context, id string) (saved string, err error) {
	d.typed("sandpool events -f --claim $ID")
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cmd := d.command(ctx, "sandpool", "events", "-f", "--claim", id)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return "", fmt.Errorf("follow events: %w", err)
	}
	defer func() { _ = cmd.Wait() }() // it was interrupted
	defer stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		d.print(lines.Text() + "\n")
		switch fields := append(strings.Fields(lines.Text()), "", "", ""); fields[2] {
		case "checkpoint":
			return checkpointID.FindString(lines.Text()), nil
		case "checkpoint_failed", "killed":
			return "", fmt.Errorf("claim %s was not saved", id)
		}
	}
	return "", fmt.Errorf("the events of claim %s ended before it was saved", id)
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
	id, err := d.interpreter(ctx)
	if err != nil {
		return err
	}
	saved, err := d.named(ctx, "CHECKPOINT=$(sandpool checkpoint --stop $ID)", "checkpoint", "--stop", id)
	if err != nil {
		return err
	}
	if err := d.resume(ctx, "$CHECKPOINT", saved); err != nil {
		return err
	}
	_, err = d.shown(ctx, "sandpool", "checkpoints", "rm", saved)
	return err
}

// ask asks the interpreter of the sandbox that the reader knows by a name how often it was asked.
func (d *demo) ask(ctx context.Context, name, id, want string) error {
	command := []string{"sh", "-c", "test -e /tmp/ready && echo asked > /tmp/ask && cat /tmp/answer"}
	d.typed("sandpool exec " + name + " -- " + quote(command))
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

// checkPaused looks at the pool with containerd's own eyes.
func (d *demo) checkPaused(ctx context.Context) error {
	out, _, err := d.run(ctx, "ctr", "-n", d.host.Namespace, "tasks", "ls")
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
