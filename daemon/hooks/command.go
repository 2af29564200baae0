package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"sandpool/daemon/wire"
)

const (
	// maxOutput is how much of the end of a failed command's output is logged, in bytes.
	maxOutput = 1 << 10
	// leftOverGrace is how long what a command left behind may keep its output open.
	leftOverGrace = 2 * time.Second
)

// commander runs a command for each event.
type commander struct {
	hook Hook
}

// run runs the command once, in a process group of its own. The group is killed when ctx ends, and what is left of it when the
// command has ended.
func (c commander) run(ctx context.Context, e wire.Event, body []byte) error {
	var output tail
	cmd := exec.CommandContext(ctx, c.hook.Command[0], c.hook.Command[1:]...)
	cmd.Env = append(os.Environ(), "SANDPOOL_EVENT="+e.Kind, "SANDPOOL_CLAIM="+e.Claim)
	cmd.Stdin = bytes.NewReader(append(body, '\n'))
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd) }
	cmd.WaitDelay = leftOverGrace
	err := cmd.Run()
	if cmd.Process != nil {
		_ = killGroup(cmd) // fails when nothing is left
	}
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // which means that it succeeded, but left something behind
		return nil
	case len(output) > 0:
		return fmt.Errorf("%s: %w: %q", c.hook.Command[0], err, output)
	default:
		return fmt.Errorf("%s: %w", c.hook.Command[0], err)
	}
}

func killGroup(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// tail keeps the last maxOutput bytes that are written to it.
type tail []byte

func (t *tail) Write(data []byte) (int, error) {
	*t = append(*t, data...)
	if over := len(*t) - maxOutput; over > 0 {
		*t = append((*t)[:0], (*t)[over:]...)
	}
	return len(data), nil
}
