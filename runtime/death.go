package runtime

import (
	"fmt"

	"golang.org/x/sys/unix"

	"sandpool/runtime/hostproc"
	"sandpool/runtime/resource"
	"sandpool/runtime/runsc"
)

// Death is how a sandbox ended.
type Death struct {
	Cause  string // one of the causes below
	Reason string // a sentence for its user
}

// The causes of deaths.
const (
	CauseMemory  = "memory"  // the kernel killed it for lack of memory
	CausePanic   = "panic"   // its sentry crashed
	CauseSignal  = "signal"  // its sentry was killed by a signal
	CauseLost    = "lost"    // its shim lost sight of it and ended it
	CauseInit    = "init"    // its process 1 ended
	CauseGofer   = "gofer"   // its gofer ended
	CauseUnknown = "unknown" // its sentry ended, and nothing tells why
)

// Causes are all causes of deaths.
var Causes = []string{CauseMemory, CausePanic, CauseSignal, CauseLost, CauseInit, CauseGofer, CauseUnknown}

const (
	exitKilled = 128 + int(unix.SIGKILL)
	exitPanic  = 2 // of a Go program
)

// ending is what is known of how a sandbox ended.
type ending struct {
	status int              // that of its init, as its shim told it
	sentry *unix.WaitStatus // nil when the kernel does not tell
	memory string           // that it was killed for lack of it, in words, or empty
	panic  string           // what its sentry said when it crashed, or empty
}

// death explains an ending. The shim reports the status exitLost whenever its `runsc wait` failed, so the rest must tell why.
func (n ending) death() Death {
	signaled := n.sentry != nil && n.sentry.Signaled()
	switch {
	case n.status != exitLost && n.status != exitKilled:
		return Death{CauseInit, initReason(n.status)}
	case n.memory != "" && (n.sentry == nil || signaled && n.sentry.Signal() == unix.SIGKILL):
		return Death{CauseMemory, n.memory}
	case n.panic != "" && !signaled:
		return Death{CausePanic, "its sentry crashed: " + n.panic}
	case signaled:
		return Death{CauseSignal, fmt.Sprintf("its sentry was killed by signal %d (%s)", n.sentry.Signal(), unix.SignalName(n.sentry.Signal()))}
	case n.status == exitKilled:
		return Death{CauseInit, initReason(n.status)}
	case n.sentry == nil:
		return Death{CauseUnknown, "its sentry ended (exit status 128): it was killed or crashed"}
	case n.sentry.ExitStatus() == exitPanic:
		return Death{CausePanic, fmt.Sprintf("its sentry crashed (exit status %d)", exitPanic)}
	default:
		return Death{CauseLost, "its shim lost sight of it (exit status 128) and ended it"}
	}
}

// initReason explains the exit status of an init, which is 128 and a signal's number when a signal ended it.
func initReason(status int) string {
	if status > exitLost {
		return fmt.Sprintf("its init was ended by signal %d (exit status %d)", status-exitLost, status)
	}
	return fmt.Sprintf("its init exited with status %d", status)
}

// ending finds out how a sandbox ended whose task ended with a status. It looks at what is there until the task is deleted, and
// needs neither containerd nor the kernel's word on the sentry.
func (e *Engine) ending(id string, status uint32) ending {
	return ending{status: int(status), memory: e.memoryDeath(id), panic: runsc.PanicLine(e.cfg.sandboxFile(id, panicSuffix))}
}

// memoryDeath tells in words that the kernel killed something of the sandbox for lack of memory, if it has.
func (e *Engine) memoryDeath(id string) string {
	groups, err := resource.Cgroups(e.cfg.Namespace, id)
	if err != nil {
		return ""
	}
	return hostproc.OutOfMemory(groups)
}
