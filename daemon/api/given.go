package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime"
)

// Sizes of a claim's metadata, in bytes.
const (
	maxMetadataValue = 256
	maxMetadata      = 3 << 10 // of all of it as JSON: it is in a label, and containerd's have at most 4096
)

var metadataName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$`)

// setGiven checks what a claim brings along.
func setGiven(body wire.ClaimRequest, req *pool.Request) error {
	var err error
	if req.Metadata, err = encodeMetadata(body.Metadata); err != nil {
		return err
	}
	for name, entries := range map[string][]string{"env": body.Env, "secrets": body.Secrets} {
		if err := checkEntries(name, entries); err != nil {
			return err
		}
	}
	if len(body.Command) > 0 {
		if err := checkExec(wire.ExecRequest{Args: body.Command}); err != nil {
			return fmt.Errorf("command: %w", err)
		}
	}
	req.Env = slices.Concat(body.Env, body.Secrets)
	size := 0
	for _, entry := range req.Env {
		size += len(entry) + 4
	}
	switch {
	case size > runtime.MaxGiven:
		return tooLong(fmt.Sprintf("env and secrets have %d bytes in all, and the limit is %d", size, runtime.MaxGiven))
	case len(body.Secrets) > 0 && !body.CheckpointSecrets:
		req.Given = pool.Secrets
	case size > 0:
		req.Given = pool.Environment
	}
	return nil
}

// checkEntries refuses what is no environment. It tells no values.
func checkEntries(of string, entries []string) error {
	for i, entry := range entries {
		name, value, ok := strings.Cut(entry, "=") // the value may be a secret
		if !ok || name == "" || strings.ContainsRune(name, 0) {
			return invalid("%s[%d]: %q: want KEY=VALUE", of, i, name)
		}
		if strings.ContainsRune(value, 0) {
			return invalid("%s[%d]: the value of %q has a NUL character in it", of, i, name)
		}
	}
	return nil
}

// encodeMetadata returns the text that stands for a claim's metadata, empty for none.
func encodeMetadata(metadata map[string]string) (string, error) {
	if len(metadata) == 0 {
		return "", nil
	}
	if len(metadata) > wire.MaxMetadata {
		return "", invalid("metadata: %d names, and the limit is %d", len(metadata), wire.MaxMetadata)
	}
	for name, value := range metadata {
		if !metadataName.MatchString(name) {
			return "", invalid("metadata: %.64q: want a name of 1 to 63 letters, digits and . _ / -", name)
		}
		if len(value) > maxMetadataValue || strings.ContainsFunc(value, unicode.IsControl) {
			return "", invalid("metadata: %s: want a value of at most %d bytes without control characters", name, maxMetadataValue)
		}
	}
	text, err := json.Marshal(metadata) // sorts the names
	if err == nil && len(text) > maxMetadata {
		err = invalid("metadata: %d bytes as JSON, and the limit is %d", len(text), maxMetadata)
	}
	return string(text), err
}

// decodeMetadata reads what encodeMetadata wrote. What somebody else wrote into the label counts for nothing.
func decodeMetadata(text string) map[string]string {
	var metadata map[string]string
	if text == "" || json.Unmarshal([]byte(text), &metadata) != nil {
		return nil
	}
	return metadata
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
		has := decodeMetadata(c.Metadata)
		for name, value := range want {
			if got, there := has[name]; !there || got != value {
				return false
			}
		}
		return true
	}, nil
}

// begin starts a claim's command.
func (a *api) begin(ctx context.Context, claim pool.Claim, args []string) (*wire.Process, error) {
	if len(args) == 0 {
		return nil, nil //nolint:nilnil // it has none
	}
	processes, err := a.Processes(ctx, claim.Sandbox)
	if err != nil {
		return nil, err
	}
	p, err := processes.Start(ctx, runtime.SupervisedCommand{Args: args})
	if err != nil {
		return nil, err
	}
	return new(wireProcess(p)), nil
}

// broughtAlong tells whether a claim's sandbox may have been given something.
func broughtAlong(c pool.Claim) bool { return c.Given != pool.Nothing || c.From != "" }
