package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandpool/runtime/oneline"
	"sandpool/runtime/supervisor"
	"sandpool/runtime/template"
)

// maxPlugWords is how much of what the init says when it cannot hand over is read, in bytes.
const maxPlugWords = 4 << 10

// Processes are the processes of a sandbox, as its process 1 sees them.
type Processes struct {
	*supervisor.Conn
	own   *specs.Process
	given func(context.Context) ([]string, error)
}

// Start starts a process with what the sandbox's own process has: its environment, to which what the claim brought along and that of the
// command are added, and its folder unless the command has one.
func (p Processes) Start(ctx context.Context, c supervisor.Command) (supervisor.Process, error) {
	c, err := p.asOwn(ctx, c)
	if err != nil {
		return supervisor.Process{}, err
	}
	return p.Conn.Start(ctx, c)
}

// Run is Start of a process that is followed from its beginning; see supervisor.Conn.
func (p Processes) Run(ctx context.Context, c supervisor.Command) (supervisor.Process, *supervisor.Follower, error) {
	c, err := p.asOwn(ctx, c)
	if err != nil {
		return supervisor.Process{}, nil, err
	}
	return p.Conn.Run(ctx, c)
}

func (p Processes) asOwn(ctx context.Context, c supervisor.Command) (supervisor.Command, error) {
	env, err := p.given(ctx)
	c.Env = slices.Concat(p.own.Env, env, c.Env)
	c.Folder = cmp.Or(c.Folder, p.own.Cwd)
	return c, err
}

// Processes returns the processes of the sandbox. That it cannot have any that are supervised is an error of class NotImplemented or
// FailedPrecondition.
func (s *Target) Processes(ctx context.Context) (Processes, error) {
	c, err := s.supervise(ctx)
	return Processes{c, s.Process, s.Given}, err
}

// supervise returns the connection to the sandbox's process 1, which is opened when there is none.
func (s *Target) supervise(ctx context.Context) (*supervisor.Conn, error) {
	if c := s.supervisor.Load(); c != nil && !c.Lost() {
		return c, nil
	}
	if !s.starter.Direct {
		return nil, errdefs.ErrNotImplemented.WithMessage("this runsc lets no other than the shim start commands, so no process can outlive its client: see warnings in sandpool info")
	}
	select {
	case s.plugging <- struct{}{}:
		defer func() { <-s.plugging }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if c := s.supervisor.Load(); c != nil && !c.Lost() {
		return c, nil
	}
	c, err := s.plug(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to process 1: %w", err)
	}
	s.supervisor.Store(c)
	return c, nil
}

// own has process 1 end a command with the connection to it, and so with this daemon, also when that is killed.
func (s *Target) own(p *Process) {
	if p.pid == 0 || !s.starter.Direct {
		return // nobody knows it, or there is no connection
	}
	if c := s.supervisor.Load(); c != nil && !c.Lost() {
		_ = c.Own(int(p.pid)) // it is lost: what the command lives on without is no reason to end it
		return
	}
	s.starter.work.Go(func() { // it has begun, and does not wait for this
		ctx, cancel := context.WithTimeout(s.starter.life, s.starter.cfg.StartTimeout)
		defer cancel()
		c, err := s.supervise(ctx)
		if err == nil && !p.hasEnded() {
			err = c.Own(int(p.pid))
		}
		if err != nil {
			s.starter.cfg.Log.Debug("a command would outlive a daemon that is killed", "sandbox", s.ID, "err", err)
		}
	})
}

// Unplug ends the connection to the sandbox's process 1, if there is one. What it started lives on.
func (s *Target) Unplug() {
	if c := s.supervisor.Load(); c != nil {
		c.Close()
	}
}

// plug opens the connection to process 1.
func (s *Target) plug(ctx context.Context) (*supervisor.Conn, error) {
	in, out, err := s.pipes(ctx, "plug")
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(s.starter.life, func() { _, _ = in.Close(), out.Close() })
	c, err := supervisor.Open(ctx, in, out, func(read func()) {
		s.starter.work.Go(func() {
			defer stop()
			read()
		})
	}, s.starter.cfg.Step)
	if err != nil {
		stop()
	}
	return c, err
}

// Door returns a new pair of pipes to the door of the sandbox, which ends what went over the pair before. That the sandbox cannot have one is an
// error of class NotImplemented or FailedPrecondition.
func (s *Target) Door(ctx context.Context) (in, out *os.File, err error) {
	if !s.starter.Direct {
		return nil, nil, errdefs.ErrNotImplemented.WithMessage("this runsc lets no other than the shim start commands, so no sandbox can have a door: see warnings in sandpool info")
	}
	in, out, err = s.pipes(ctx, "plug", "door")
	if err != nil {
		return nil, nil, fmt.Errorf("open the door: %w", err)
	}
	s.starter.cfg.Step("door plugged")
	widen(in, wideDoor)
	widen(out, wideDoor)
	return in, out, nil
}

// pipes has the init hand a pair of pipes to process 1 by a command of its own, and says how that went.
func (s *Target) pipes(ctx context.Context, command ...string) (in, out *os.File, err error) {
	var ours, theirs []*os.File
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(append(ours, theirs...))
			return nil, nil, err
		}
		ours, theirs = append(ours, r), append(theirs, w)
	}
	ours[0], theirs[0] = theirs[0], ours[0] // its input
	said := ours[2]
	defer func() { _ = said.Close() }()
	if err := s.handOver(ctx, command, theirs, said); err != nil {
		closeAll(ours[:2])
		return nil, nil, err
	}
	return ours[1], ours[0], nil
}

// handOver runs a command of the init's with files as its first three.
func (s *Target) handOver(ctx context.Context, args []string, files []*os.File, said io.Reader) error {
	process := &sentryProcess{result: newResult(), in: s}
	command := processSpec(s.Process, Spec{Args: append([]string{template.InitPath}, args...), Root: true})
	err := process.start(ctx, command, s.Flags["net-raw"] == "true", files)
	closeAll(files)
	if err != nil {
		return err
	}
	s.starter.work.Go(process.watch)
	code, err := process.await(ctx)
	if err != nil {
		return err
	}
	if code == 0 {
		return nil
	}
	words, _ := io.ReadAll(io.LimitReader(said, maxPlugWords))
	if strings.Contains(string(words), "usage: ") {
		return errdefs.ErrFailedPrecondition.WithMessage("the init of this sandbox is of an older release: claim a new one")
	}
	return errors.New(oneline.Of(string(words)))
}
