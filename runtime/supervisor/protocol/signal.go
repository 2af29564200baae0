package protocol

import (
	"slices"
	"syscall"
)

// groupSignals are what a terminal sends, or who wants to end all that a command runs.
var groupSignals = []syscall.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGKILL,
	syscall.SIGTSTP, syscall.SIGSTOP, syscall.SIGCONT, syscall.SIGWINCH,
}

// ToGroup tells whether a signal goes to all that a command runs. Others mean the command alone: most programs end by them.
func ToGroup(signal syscall.Signal) bool { return slices.Contains(groupSignals, signal) }
