package runsc

import (
	"context"
	"os"
	"strings"
	"syscall"

	"github.com/moby/sys/capability"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Delivery is whom a sentry sends a signal to; see SignalDeliveryMode in runsc/boot.
type Delivery int

// Whom a signal may be for.
const (
	ToProcess    Delivery = 0
	ToForeground Delivery = 2 // the foreground process group of the process's terminal
	ToGroup      Delivery = 3
)

// The arguments of the sentry's methods are JSON with the names that runsc gives them.
type (
	execArgs struct {
		Argv             []string `json:"argv"`
		Envv             []string `json:"envv"`
		WorkingDirectory string   `json:"wd"`
		KUID, KGID       uint32
		ExtraKGIDs       []uint32
		NoNewPrivileges  bool
		Capabilities     capabilitySets
		GuestFDs         []int // what the files are in the process
		ContainerID      string
	}
	capabilitySets struct {
		PermittedCaps, InheritableCaps, EffectiveCaps, BoundingCaps, AmbientCaps uint64
	}
	waitArgs struct {
		PID int32
		CID string
	}
	signalArgs struct {
		CID   string
		Signo syscall.Signal
		PID   int32
		Mode  Delivery
	}
)

// Pause freezes all that runs in the sandbox. Pauses nest: only one that runs may be paused. Without sent nothing was done.
func (c Control) Pause(ctx context.Context) (sent bool, err error) {
	return c.tell(ctx, "containerManager.Pause")
}

// Resume lets a paused sandbox go on. The sentry of one that is not paused crashes. Without sent nothing was done.
func (c Control) Resume(ctx context.Context) (sent bool, err error) {
	return c.tell(ctx, "containerManager.Resume")
}

// Signal signals a process of the sandbox, or a group that it names.
func (c Control) Signal(ctx context.Context, pid int32, signal syscall.Signal, to Delivery) error {
	return c.call(ctx, "containerManager.Signal", signalArgs{CID: c.ID, Signo: signal, PID: pid, Mode: to}, nil)
}

// Wait returns how a process of the sandbox ended, once it has. The sentry forgets the process then.
func (c Control) Wait(ctx context.Context, pid int32) (status syscall.WaitStatus, err error) {
	err = c.call(ctx, "containerManager.WaitPID", waitArgs{PID: pid, CID: c.ID}, &status)
	return status, err
}

// Start is a process that a sentry was asked to start.
type Start struct{ pending pending }

// Execute asks the sentry to start a process with files as its first ones, which may be closed then. The process gets the capability for raw
// sockets only if raw is true, as runsc starts sandboxes. PID must be called.
func (c Control) Execute(ctx context.Context, process *specs.Process, raw bool, files []*os.File) (Start, error) {
	args := execArgs{
		Argv: process.Args, Envv: process.Env, WorkingDirectory: process.Cwd,
		KUID: process.User.UID, KGID: process.User.GID, ExtraKGIDs: process.User.AdditionalGids,
		NoNewPrivileges: process.NoNewPrivileges, Capabilities: setsOf(process.Capabilities, raw),
		ContainerID: c.ID,
	}
	for i := range files {
		args.GuestFDs = append(args.GuestFDs, i)
	}
	sent, err := c.begin(ctx, "containerManager.ExecuteAsync", args, files)
	return Start{sent}, err
}

// PID waits until the process has started, or ctx ends, and returns its number in the sandbox.
func (s Start) PID(ctx context.Context) (pid int32, err error) {
	err = s.pending.await(ctx, &pid)
	return pid, err
}

// setsOf encodes capabilities, without that for raw sockets unless raw is true.
func setsOf(caps *specs.LinuxCapabilities, raw bool) capabilitySets {
	if caps == nil {
		return capabilitySets{}
	}
	set := func(names []string) (bits uint64) {
		for _, c := range capability.ListKnown() {
			for _, name := range names {
				if strings.EqualFold(name, "CAP_"+c.String()) && (raw || c != capability.CAP_NET_RAW) {
					bits |= 1 << c
				}
			}
		}
		return bits
	}
	return capabilitySets{set(caps.Permitted), set(caps.Inheritable), set(caps.Effective), set(caps.Bounding), set(caps.Ambient)}
}
