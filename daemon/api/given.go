package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"

	"sandpool/daemon/files"
	"sandpool/daemon/metadata"
	"sandpool/daemon/processes"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime"
	"sandpool/runtime/supervisor"
)

// setGiven checks what a claim brings along.
func setGiven(body wire.ClaimRequest, req *pool.Request) error {
	var err error
	if req.Metadata, err = metadata.Encode(body.Metadata); err != nil {
		return invalid("metadata: %v", err)
	}
	for name, entries := range map[string][]string{"env": body.Env, "secrets": body.Secrets} {
		if err := processes.CheckEntries(name, entries); err != nil {
			return err
		}
	}
	if len(body.Command) > 0 {
		if err := processes.Check(wire.ExecRequest{Args: body.Command}); err != nil {
			return fmt.Errorf("command: %w", err)
		}
	}
	req.Env = slices.Concat(body.Env, body.Secrets)
	switch size := supervisor.GivenSize(req.Env); {
	case size > supervisor.MaxGiven:
		return processes.TooLong(fmt.Sprintf("env and secrets have %d bytes in all, and the limit is %d", size, supervisor.MaxGiven))
	case len(body.Secrets) > 0 && !body.CheckpointSecrets:
		req.Given = pool.Secrets
	case size > 0:
		req.Given = pool.Environment
	}
	return nil
}

// begin writes a claim's files and then starts its command.
func (a *api) begin(ctx context.Context, claim pool.Claim, list []claimFile, command []string) (*wire.Process, error) {
	start := func(ctx context.Context, spec runtime.ExecSpec) (files.Process, error) {
		return a.Exec(ctx, claim.Sandbox, spec)
	}
	for _, f := range list {
		if _, err := files.Send(ctx, start, f.op, inline{bytes.NewReader(f.content)}); err != nil {
			return nil, err
		}
	}
	if len(command) == 0 {
		return nil, nil //nolint:nilnil // it has none
	}
	of, err := a.Processes(ctx, claim.Sandbox)
	if err != nil {
		return nil, err
	}
	p, err := of.Start(ctx, supervisor.Command{Args: command})
	if err != nil {
		return nil, err
	}
	return new(processes.Wire(p)), nil
}

// claimFile is a file of a claim's, and how it is written.
type claimFile struct {
	op      files.Op
	content []byte
}

func claimFiles(list []wire.ClaimFile) (all []claimFile, err error) {
	for _, f := range list {
		if f.Text != "" && f.Content != nil {
			return nil, invalid("files: %.64q: has both content and text", f.Path)
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
		all = append(all, claimFile{op, append(f.Content, f.Text...)})
	}
	return all, nil
}

// inline is a body that has come already.
type inline struct{ io.Reader }

// Stop implements files.Body.
func (inline) Stop() {}

// broughtAlong tells whether a claim's sandbox may have been given something.
func broughtAlong(c pool.Claim) bool { return c.Given != pool.Nothing || c.From != "" }
