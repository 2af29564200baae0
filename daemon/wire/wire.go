// Package wire holds the JSON bodies and the exec frames that sandpoold and its clients exchange.
package wire

import (
	"time"

	"sandpool/lifetime"
)

// DefaultSocket is where sandpoold listens unless it is configured otherwise.
const DefaultSocket = "/run/sandpool/sandpool.sock"

// MaxBody is the largest request body that the API reads, in bytes.
const MaxBody = 64 << 10

// Start says where a claim's sandbox may come from.
type Start string

const (
	// StartAny takes a warm sandbox and starts one when there is none. It is the default.
	StartAny Start = "any"
	// StartCold never takes from the pool: the claim waits for a sandbox started for it. It is what a benchmark compares with.
	StartCold Start = "cold"
)

// Tier says how the sandbox of a claim came to be running.
type Tier string

const (
	// TierHot is a sandbox that waited running in the pool.
	TierHot Tier = "hot"
	// TierPaused is a sandbox that waited paused in the pool and was resumed.
	TierPaused Tier = "paused"
	// TierCold is a sandbox whose start the claim waited for.
	TierCold Tier = "cold"
	// TierFallback is a sandbox from the pool of the template "generic", which stands in for the one asked for.
	TierFallback Tier = "fallback"
)

// ClaimState is the state of a claim as a client sees it.
type ClaimState string

const (
	// ClaimRunning is a claim whose sandbox runs.
	ClaimRunning ClaimState = "running"
	// ClaimDead is a claim whose sandbox died; Reason says why. It is kept until it is released or expires.
	ClaimDead ClaimState = "dead"
)

// ClaimRequest is the body of POST /v1/claims. The zero value claims from the default template.
type ClaimRequest struct {
	// Template names the pool to take from.
	Template string `json:"template,omitempty"`
	// RequestID makes the claim idempotent: the same owner and id get the same claim while it lives.
	RequestID string `json:"request_id,omitempty"`
	// Start says where the sandbox may come from; empty means StartAny.
	Start Start `json:"start,omitempty"`
	// Fallback takes a sandbox of the template "generic" rather than wait for one of Template.
	Fallback bool `json:"fallback,omitempty"`
	// Wait is how long the claim may wait for a sandbox; nil means the daemon's default, 0 means not at all.
	Wait *lifetime.Duration `json:"wait,omitempty"`
	// Lifetime is how long the sandbox may live from now on; 0 means the daemon's default.
	Lifetime lifetime.Duration `json:"lifetime,omitempty"`
}

// Claim is a sandbox that was handed out.
type Claim struct {
	ID        string     `json:"id"`
	Sandbox   string     `json:"sandbox"` // the id of the containerd container
	Template  string     `json:"template"`
	Pool      string     `json:"pool"` // region:template
	Owner     string     `json:"owner"`
	RequestID string     `json:"request_id,omitempty"`
	State     ClaimState `json:"state"`
	Reason    string     `json:"reason,omitempty"`
	Tier      Tier       `json:"tier"`
	CreatedAt time.Time  `json:"created_at"` // when the sandbox was created
	ClaimedAt time.Time  `json:"claimed_at"`
	ExpiresAt time.Time  `json:"expires_at"` // when the daemon kills it
}

// ClaimList is the body of GET /v1/claims.
type ClaimList struct {
	Claims []Claim `json:"claims"`
}

// Pool is one pool's size and health.
type Pool struct {
	Name      string `json:"name"` // region:template
	Template  string `json:"template"`
	Min       int    `json:"min"`
	Target    int    `json:"target"`
	Max       int    `json:"max"`
	Wanted    int    `json:"wanted"`               // how many sandboxes it should have now
	ScaleUp   int    `json:"scale_up_threshold"`   // per cent
	ScaleDown int    `json:"scale_down_threshold"` // per cent
	Hot       int    `json:"hot"`                  // of those available, how many should run
	Adaptive  bool   `json:"adaptive"`
	Hold      bool   `json:"hold"`               // nothing is refilled
	Available int    `json:"available"`          // ready to be claimed
	Running   int    `json:"running"`            // of those, how many run
	InUse     int    `json:"in_use"`             // claimed
	Warming   int    `json:"warming"`            // being started
	Total     int    `json:"total"`              // available + in use
	Waiting   int    `json:"waiting"`            // claims that wait for a sandbox
	Degraded  string `json:"degraded,omitempty"` // why the last start failed
	Blocked   string `json:"blocked,omitempty"`  // why nothing may be started
}

// PoolChange is the body of PUT /v1/pools/{name}. What is nil stays as it is.
type PoolChange struct {
	Min       *int  `json:"min,omitempty"`
	Target    *int  `json:"target,omitempty"`
	Max       *int  `json:"max,omitempty"`
	ScaleUp   *int  `json:"scale_up_threshold,omitempty"`
	ScaleDown *int  `json:"scale_down_threshold,omitempty"`
	Hot       *int  `json:"hot,omitempty"`
	Adaptive  *bool `json:"adaptive,omitempty"`
	Hold      *bool `json:"hold,omitempty"`
}

// PoolList is the body of GET /v1/pools.
type PoolList struct {
	Pools []Pool `json:"pools"`
}

// Canary is what became of one platform's trial at start.
type Canary struct {
	Platform string `json:"platform"`
	OK       bool   `json:"ok"`
	Reason   string `json:"reason,omitempty"`
}

// Info is the body of GET /v1/info.
type Info struct {
	Version    string    `json:"version"`
	PID        int       `json:"pid"`
	StartedAt  time.Time `json:"started_at"`
	Region     string    `json:"region"`
	Containerd string    `json:"containerd"` // version
	Namespace  string    `json:"namespace"`
	Runsc      string    `json:"runsc"` // version
	Platform   string    `json:"platform"`
	Canaries   []Canary  `json:"canaries"`
	Warnings   []string  `json:"warnings,omitempty"`
}

// ExecRequest is the body of POST /v1/claims/{id}/exec, which upgrades the connection to frames.
type ExecRequest struct {
	Args []string `json:"args"`
	Env  []string `json:"env,omitempty"` // KEY=VALUE, added to the image's
	Cwd  string   `json:"cwd,omitempty"`
	TTY  bool     `json:"tty,omitempty"`
	Rows uint16   `json:"rows,omitempty"` // with TTY
	Cols uint16   `json:"cols,omitempty"` // with TTY
}

// Error is the body of every answer that is not a success.
type Error struct {
	Status  int    `json:"status"` // the HTTP status
	Code    string `json:"code"`   // stable, for programs
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }
