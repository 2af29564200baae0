package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

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
	for _, f := range body.Files {
		if _, _, err := claimFile(f); err != nil {
			return err
		}
	}
	req.Env = slices.Concat(body.Env, body.Secrets)
	size := 0
	for _, entry := range req.Env {
		size += len(entry) + 4
	}
	switch {
	case size > supervisor.MaxGiven:
		return processes.TooLong(fmt.Sprintf("env and secrets have %d bytes in all, and the limit is %d", size, supervisor.MaxGiven))
	case len(body.Secrets) > 0 && !body.CheckpointSecrets:
		req.Given = pool.Secrets
	case size > 0:
		req.Given = pool.Environment
	}
	return nil
}

// metadataFilter tells which claims a query asks for, by NAME=VALUE in its parameters metadata.
func metadataFilter(r *http.Request) (wanted func(pool.Claim) bool, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalid("query: %v", err)
	}
	for key := range query {
		if key != "metadata" {
			return nil, invalid("query: unknown parameter %.64q", key)
		}
	}
	want := map[string]string{}
	for _, pair := range query["metadata"] {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, invalid("metadata: %.64q: want NAME=VALUE", pair)
		}
		want[name] = value
	}
	return func(c pool.Claim) bool {
		if len(want) == 0 {
			return true
		}
		has := metadata.Decode(c.Metadata)
		for name, value := range want {
			if got, there := has[name]; !there || got != value {
				return false
			}
		}
		return true
	}, nil
}

// begin writes a claim's files and then starts its command.
func (a *api) begin(ctx context.Context, claim pool.Claim, body wire.ClaimRequest) (*wire.Process, error) {
	start := func(ctx context.Context, spec runtime.ExecSpec) (files.Process, error) {
		return a.Exec(ctx, claim.Sandbox, spec)
	}
	for _, f := range body.Files {
		op, content, err := claimFile(f)
		if err == nil {
			_, err = files.Send(ctx, start, op, content)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(body.Command) == 0 {
		return nil, nil //nolint:nilnil // it has none
	}
	of, err := a.Processes(ctx, claim.Sandbox)
	if err != nil {
		return nil, err
	}
	p, err := of.Start(ctx, supervisor.Command{Args: body.Command})
	if err != nil {
		return nil, err
	}
	return new(processes.Wire(p)), nil
}

// claimFile is how a file of a claim's is written.
func claimFile(f wire.ClaimFile) (files.Op, files.Body, error) {
	if f.Text != "" && f.Content != nil {
		return files.Op{}, nil, invalid("files: %.64q: has both content and text", f.Path)
	}
	query := url.Values{"path": {f.Path}}
	for name, value := range map[string]string{"mode": f.Mode, "user": f.User} {
		if value != "" {
			query.Set(name, value)
		}
	}
	op, err := files.ParseOp("write", query.Encode(), []string{"path", "mode"})
	if err != nil {
		return op, nil, fmt.Errorf("files: %.64q: %w", f.Path, err)
	}
	if f.Text != "" {
		f.Content = []byte(f.Text)
	}
	return op, inline{bytes.NewReader(f.Content)}, nil
}

// inline is a body that has come already.
type inline struct{ io.Reader }

// Stop implements files.Body.
func (inline) Stop() {}

// broughtAlong tells whether a claim's sandbox may have been given something.
func broughtAlong(c pool.Claim) bool { return c.Given != pool.Nothing || c.From != "" }
