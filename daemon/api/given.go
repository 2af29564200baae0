package api

import (
	"fmt"
	"slices"

	"sandpool/daemon/metadata"
	"sandpool/daemon/processes"
	"sandpool/daemon/wire"
	"sandpool/pool"
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
