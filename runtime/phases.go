package runtime

import "time"

// Phases are how long each part of a start took, in their order.
type Phases struct {
	Image        time.Duration // the snapshot of the image's files, and containerd's record of the sandbox
	Sentry       time.Duration // shim, sentry and gofer, until runsc has reported the start or the restore
	UserSpace    time.Duration // until a first process ran in it by exec
	Dependencies time.Duration // the template's prewarm commands
	Ready        time.Duration // the template's readiness checks
}
