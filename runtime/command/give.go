package command

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/containerd/errdefs"

	"sandpool/runtime/oneline"
	"sandpool/runtime/supervisor"
	"sandpool/runtime/supervisor/protocol"
	"sandpool/runtime/template"
)

// Give adds to what commands get in their environment. It is handed to process 1, which keeps it: so it outlives the daemon, and is in no
// file. A sandbox may be paused, and then takes it as it wakes. One that inherits may have something already, and is waited for.
func (s *Target) Give(ctx context.Context, env []string, inherits bool) error {
	if !s.starter.Direct {
		return errdefs.ErrNotImplemented.WithMessage("this runsc lets no other than the shim start commands, which would write the environment into files: see warnings in sandpool info")
	}
	words := protocol.Words(env)
	if len(words) > supervisor.MaxGiven {
		return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("an environment of %d bytes: the limit is %d", len(words), supervisor.MaxGiven))
	}
	s.starter.cfg.Step("give begun")
	defer s.starter.cfg.Step("claim given")
	process, err := s.keep(ctx, words)
	if err != nil {
		return fmt.Errorf("hand over the environment: %w", err)
	}
	if !inherits {
		s.given.Store(&env)
		return nil
	}
	code, err := process.await(ctx)
	if err == nil && code != 0 {
		err = fmt.Errorf("process 1 does not keep the environment: exit code %d", code)
	}
	return err
}

// keep starts the init's keep with words in a pipe as its input.
func (s *Target) keep(ctx context.Context, words []byte) (*sentryProcess, error) {
	in, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	_, err = w.Write(words)
	_ = w.Close()
	null, errNull := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err == nil {
		err = errNull
	}
	if err != nil {
		_ = in.Close()
		return nil, err
	}
	process := &sentryProcess{result: newResult(), in: s}
	files := []*os.File{in, null, null}
	command := processSpec(s.Process, Spec{Args: []string{template.InitPath, "keep"}, Root: true})
	err = process.start(ctx, command, s.Flags["net-raw"] == "true", files)
	closeAll(files)
	if err != nil {
		return nil, err
	}
	s.starter.work.Go(process.watch)
	return process, nil
}

// Given returns what claims gave the sandbox, which its process 1 is asked for by a daemon that did not see it.
func (s *Target) Given(ctx context.Context) ([]string, error) {
	if env := s.given.Load(); env != nil {
		return *env, nil
	}
	conn, err := s.supervise(ctx)
	if errdefs.IsNotImplemented(err) || errdefs.IsFailedPrecondition(err) {
		return nil, nil // of an older release, which was given nothing
	}
	var env []string
	if err == nil {
		env, err = conn.Kept(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the environment that the claim brought along: %s", oneline.Of(err.Error()))
	}
	s.given.Store(&env)
	return slices.Clip(env), nil
}
