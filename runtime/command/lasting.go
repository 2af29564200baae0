package command

import (
	"context"
	"errors"
	"io"

	"github.com/containerd/errdefs"

	"sandpool/runtime/supervisor"
)

// RunLasting runs a command as a child of process 1, and returns its exit code when it has ended and its output is written. So what it leaves
// running goes on wherever the sandbox does, restored and forked ones too: a checkpoint has nothing of what Start starts, nor of its children.
func (s *Target) RunLasting(ctx context.Context, args []string, to io.Writer) (int, error) {
	conn, err := s.supervise(ctx)
	if errdefs.IsNotImplemented(err) {
		return s.runByShim(ctx, args, to)
	}
	if err != nil {
		return 0, err
	}
	_, follower, err := conn.Run(ctx, supervisor.Command{Args: args, Env: s.Process.Env, Folder: s.Process.Cwd})
	if failed, ok := errors.AsType[*supervisor.Failure](err); ok && failed.Code > 0 {
		_, _ = io.WriteString(to, failed.Text+"\n")
		return failed.Code, nil
	}
	if err != nil {
		return 0, err
	}
	defer follower.Close()
	for {
		out, ended, err := follower.Next(ctx)
		if err != nil {
			return 0, err
		}
		if ended != nil {
			return ended.Code, nil
		}
		_, _ = to.Write(out.Data) // what the command does is more than who hears of it
	}
}

// runByShim is RunLasting where no process can outlive its client.
func (s *Target) runByShim(ctx context.Context, args []string, to io.Writer) (int, error) {
	p, err := s.Start(ctx, Spec{Args: args, Stdout: to, Stderr: to})
	if err != nil {
		return 0, err
	}
	return p.Wait(ctx)
}
