// Package begin does in a claim's sandbox what has to be done before the claim is answered: its files, its template's hook and its command.
package begin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"

	"github.com/containerd/errdefs"
	"go.opentelemetry.io/otel/trace"

	"sandpool/daemon/files"
	"sandpool/daemon/processes"
	"sandpool/daemon/telemetry"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime"
	"sandpool/runtime/supervisor"
)

// Tools are what is needed for it.
type Tools struct {
	Exec      func(ctx context.Context, sandbox string, spec runtime.ExecSpec) (processes.Process, error)
	Processes func(ctx context.Context, sandbox string) (runtime.Processes, error)
	Tracer    trace.Tracer
}

// Work is what is to be done for a claim. That of forks has neither files nor a command, and serves all of them.
type Work struct {
	Tools

	// Process is the claim's command once Do has started it, or nil.
	Process *wire.Process

	files   []file
	command []string
	secrets []string // KEY=VALUE, of values that no error tells
}

// file is a file of a claim's, and how it is written.
type file struct {
	op      files.Op
	content []byte
}

// Parse checks what a claim wants to be done.
func Parse(tools Tools, body wire.ClaimRequest) (*Work, error) {
	w := &Work{Tools: tools, command: body.Command, secrets: body.Secrets}
	if len(body.Command) > 0 {
		if err := processes.Check(wire.ExecRequest{Args: body.Command}); err != nil {
			return nil, fmt.Errorf("command: %w", err)
		}
	}
	for _, f := range body.Files {
		if f.Text != "" && f.Content != nil {
			return nil, processes.Invalid("files: %.64q: has both content and text", f.Path)
		}
		query := url.Values{"path": {f.Path}}
		for name, value := range map[string]string{"mode": f.Mode, "user": f.User} {
			if value != "" {
				query.Set(name, value)
			}
		}
		op, err := files.ParseOp("write", query.Encode(), []string{"path", "mode"})
		if err != nil {
			return nil, fmt.Errorf("files: %.64q: %w", f.Path, err)
		}
		w.files = append(w.files, file{op, append(f.Content, f.Text...)})
	}
	return w, nil
}

// Do writes the files, runs the hook and then starts the command. It ends with ctx.
func (w *Work) Do(ctx context.Context, claim pool.Claim) error {
	start := func(ctx context.Context, spec runtime.ExecSpec) (files.Process, error) {
		return w.Exec(ctx, claim.Sandbox, spec)
	}
	for _, f := range w.files {
		if _, err := files.Send(ctx, start, f.op, inline{bytes.NewReader(f.content)}); err != nil {
			return err
		}
	}
	if claim.OnClaim != "" {
		if err := w.hook(ctx, claim); err != nil {
			return err
		}
	}
	if len(w.command) == 0 {
		return nil
	}
	of, err := w.Processes(ctx, claim.Sandbox)
	if err != nil {
		return err
	}
	p, err := of.Start(ctx, supervisor.Command{Args: w.command})
	if err == nil {
		w.Process = new(processes.Wire(p))
	}
	return err
}

// hook runs the hook of a claim's template, as a part of the claim's trace.
func (w *Work) hook(ctx context.Context, claim pool.Claim) error {
	hook, err := decode(claim.OnClaim)
	if err != nil {
		return fmt.Errorf("read on_claim of sandbox %s: %w", claim.Sandbox, err)
	}
	ctx, span := w.Tracer.Start(ctx, "on_claim")
	err = hook.run(ctx, w.run, claim, w.secrets)
	telemetry.End(span, err)
	return err
}

// run starts a command as a child of process 1. So what it leaves running is part of checkpoints, which has nothing of an exec's.
func (w *Work) run(ctx context.Context, sandbox string, spec runtime.ExecSpec) (processes.Process, error) {
	of, err := w.Processes(ctx, sandbox)
	if errdefs.IsNotImplemented(err) || errdefs.IsFailedPrecondition(err) { // it can have none
		return w.Exec(ctx, sandbox, spec)
	}
	if err != nil {
		return nil, err
	}
	return processes.Run(ctx, of, supervisor.Command{Args: spec.Args, Env: spec.Env}, spec)
}

// inline is a body that has come already.
type inline struct{ io.Reader }

// Stop implements files.Body.
func (inline) Stop() {}
