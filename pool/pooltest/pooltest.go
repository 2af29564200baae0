// Package pooltest makes what tests of those who work on the pools begin with.
package pooltest

import (
	"time"

	"sandpool/configs"
	"sandpool/lifetime"
	"sandpool/pool"
)

// Claim is a claim of long ago, of the type development.
func Claim(id, owner string, state pool.State) pool.Claim {
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
