package command

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"

	"sandpool/runtime/oneline"
	"sandpool/runtime/supervisor"
)

// Give adds to what commands get in their environment. Process 1 keeps it: so it outlives the daemon, and is in no file. A sandbox may be
// paused, and then takes it as it wakes, which is waited for. One that inherits may have something already.
func (s *Target) Give(ctx context.Context, env []string, inherits bool) error {
	if !s.starter.Direct {
		return errdefs.ErrNotImplemented.WithMessage("this runsc lets no other than the shim start commands, which would write the environment into files: see warnings in sandpool info")
	}
	if size := supervisor.GivenSize(env); size > supervisor.MaxGiven {
		return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("an environment of %d bytes: the limit is %d", size, supervisor.MaxGiven))
	}
	s.starter.cfg.Step("give begun")
	defer s.starter.cfg.Step("claim given")
	conn, err := s.supervise(ctx)
	if err == nil {
		err = conn.Keep(ctx, env)
	}
	if errdefs.IsInvalidArgument(err) { // what is wrong with an environment was found before
		err = errdefs.ErrFailedPrecondition.WithMessage("the init of this sandbox is of an older release, which takes none: " + oneline.Of(err.Error()))
	}
	if err != nil {
		return fmt.Errorf("hand over the environment: %w", err)
	}
	if !inherits {
		s.given.Store(&env)
	}
	return nil
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
