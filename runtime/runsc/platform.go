package runsc

import (
	"slices"
	"strings"

	"sandpool/runtime/hostproc"
)

// The platforms that gVisor has: the ways in which a sentry catches its sandbox's system calls.
const (
	Systrap = "systrap"
	KVM     = "kvm"
	Ptrace  = "ptrace"
)

// Platforms are all of them.
var Platforms = []string{Systrap, KVM, Ptrace}

// auto stands for the platforms that suit the host.
const auto = "auto"

// Candidates returns the platforms that a configuration names, in the order in which they are to be tried.
func Candidates(configured []string) []string { return candidatesFor(configured, isVirtual()) }

// candidatesFor resolves auto: kvm wins on bare metal only, since nested virtualisation is slower than systrap.
func candidatesFor(configured []string, virtual bool) []string {
	if len(configured) != 1 || configured[0] != auto {
		return configured
	}
	if virtual {
		return []string{Systrap, Ptrace}
	}
	return []string{KVM, Systrap, Ptrace}
}

// isVirtual tells whether the processor says that it runs under a hypervisor. One that does not say may: systrap works everywhere.
func isVirtual() bool {
	cpu, err := hostproc.CPU()
	flags, says := cpu["flags"]
	return err != nil || !says || slices.Contains(strings.Fields(flags), "hypervisor")
}
