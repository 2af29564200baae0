package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"sandpool/lifetime/wait"
	"sandpool/runtime/atomicfile"
	"sandpool/runtime/command"
	"sandpool/runtime/runsc"
	"sandpool/runtime/template"
)

const (
	// readyInterval is the time between two runs of a readiness command.
	readyInterval = 200 * time.Millisecond
)

// prewarm runs a template's prewarm commands in a started sandbox, one after the other, and keeps their output.
func (e *Engine) prewarm(ctx context.Context, id string, t *Prepared) error {
	if len(t.Prewarm) == 0 {
		return nil
	}
	var kept command.LastWords
	defer func() {
		if err := atomicfile.Write(e.cfg.prewarmLog(t.name), kept.Bytes()); err != nil {
			e.log.Warn("output of prewarm commands is lost", "template", t.name, "err", err)
		}
	}()
	doing := "" // what a missed deadline interrupted
	err := e.calls.Do(ctx, t.PrewarmTimeout, on("prewarm", "", id), func(ctx context.Context) error {
		for _, doing = range t.Prewarm {
			_, _ = fmt.Fprintf(&kept, "$ %s\n", doing)
			code, err := e.shell(ctx, id, doing, &kept)
			if err != nil {
				return err
			}
			if code != 0 {
				return fmt.Errorf("exit code %d: %s (all of it in %s)", code, kept.End(), e.cfg.prewarmLog(t.name))
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%q: %w", doing, err)
	}
	return nil
}

// awaitReady waits until a template's own readiness checks pass.
func (e *Engine) awaitReady(ctx context.Context, id string, t *Prepared) error {
	if t.ReadyPort == 0 && t.ReadyCommand == "" {
		return nil
	}
	doing := fmt.Sprintf("port %d", t.ReadyPort) // what a missed deadline interrupted
	err := e.calls.Do(ctx, t.ReadyTimeout, on("await", "readiness of ", id), func(ctx context.Context) error {
		if t.ReadyPort != 0 {
			if err := e.runInit(ctx, id, "ready", strconv.Itoa(t.ReadyPort)); err != nil {
				return err
			}
		}
		if t.ReadyCommand == "" {
			return nil
		}
		for doing = strconv.Quote(t.ReadyCommand); ; {
			var out command.LastWords
			code, err := e.shell(ctx, id, t.ReadyCommand, &out)
			if err == nil && code == 0 {
				return nil
			}
			if err == nil { // the last of them may have been broken off
				doing = fmt.Sprintf("%q: exit code %d: %s", t.ReadyCommand, code, out.End())
			}
			if !e.Alive(id) { // no later try can succeed
				return cmp.Or(err, runsc.ErrSentryGone)
			}
			if sleepErr := wait.Sleep(ctx, readyInterval); sleepErr != nil {
				return errors.Join(err, sleepErr)
			}
		}
	})
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// shell runs a command line in a sandbox and returns its exit code. What it leaves running is part of checkpoints.
func (e *Engine) shell(ctx context.Context, id, line string, out *command.LastWords) (int, error) {
	s, err := e.sandbox(ctx, id)
	if err != nil {
		return 0, err
	}
	return s.commands.RunLasting(ctx, []string{"/bin/sh", "-c", line}, out)
}

// runInit runs the sandbox's own init as a command; one that fails is an error.
func (e *Engine) runInit(ctx context.Context, id string, args ...string) error {
	return e.mustSucceed(ctx, id, ExecSpec{Args: append([]string{template.InitPath}, args...), Cwd: "/"})
}

// mustSucceed runs a command in a sandbox; one that fails is an error.
func (e *Engine) mustSucceed(ctx context.Context, id string, spec ExecSpec) error {
	p, err := e.exec(ctx, id, spec)
	if err != nil {
		return err
	}
	return p.Succeeds(ctx)
}

// prewarmLog is where the output of a template's last prewarm commands is kept.
func (c Config) prewarmLog(template string) string {
	return filepath.Join(c.StateDir, "prewarm-"+template+".log")
}
