package daemon

import (
	"os"
	"testing"
	"time"

	"sandpool/configs"
	"sandpool/lifetime"
	"sandpool/pool"
)

// runningID is the claim of most tests.
const runningID = "c-aaaaaaaaaaaaaaaa"

func fakeClaim(id, owner string, state pool.State) pool.Claim {
	now := time.Unix(1e9, 0).UTC()
	c := pool.Claim{
		Grant: pool.Grant{
			ID: id, Owner: owner, Template: "default", Tier: pool.TierPaused, ClaimedAt: now,
			Lease: lifetime.NewLease("development", configs.Default().Lifetimes["development"].Type(), now),
		},
		Sandbox: "sb-" + id[2:], Pool: "local:default", State: state, CreatedAt: now,
	}
	if state == pool.Dead {
		c.Reason = "its init was killed"
	}
	return c
}

// shortDir is a temporary folder whose path leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "spd") //nolint:usetesting // t.TempDir's path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
