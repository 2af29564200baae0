package pool

import "time"

// Phases are how long each part of a cold start took, in their order.
type Phases struct {
	Schedule     time.Duration // from the claim's request until its sandbox was begun
	Image        time.Duration // the files of the image, and containerd's record of the sandbox
	Sentry       time.Duration // gVisor's kernel of the sandbox
	UserSpace    time.Duration // until a first process ran in it
	Dependencies time.Duration // the template's prewarm commands
	Ready        time.Duration // the template's readiness checks
}

// Started says how a sandbox came to run.
type Started struct {
	Phases        // Schedule is for the controller to fill in
	Restored bool // it goes on from the snapshot of its template
}
