package template

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandpool/runtime/ulimit"
)

// Limits are the most that one sandbox gets. Of each 0 means no limit.
type Limits struct {
	CPUs   float64 // processor time, in processors
	Memory int64   // bytes, of the sentry and all that runs in it
	Disk   int64   // bytes that it may write to its root file system
	PIDs   int64   // processes and threads of each of its users
	// Ulimits are of each process, by their name in setrlimit(2) without RLIMIT_ and in lower case. Of nproc the default is PIDs.
	Ulimits map[string]ulimit.Limit
}

const (
	// cpuPeriod is the kernel's usual period of a quota, in microseconds.
	cpuPeriod = 100_000
	// cpuShares is the weight of one whole processor in the kernel's cgroups.
	cpuShares = 1024
	// hostTasksEach is how many threads of the host one process in a sandbox can need, and hostTasks how many gVisor itself does.
	// They only keep a sentry that went astray from taking all that the host has: see docs/templates.md.
	hostTasksEach = 4
	hostTasks     = 1024
)

// set puts l into a spec. All but the disk's are kept by the host's cgroup of the sandbox, and what the sandbox sees
// follows from them; processes are counted by the sentry, too, which has threads of its own in that cgroup.
func (l Limits) set(s *specs.Spec) {
	if s.Linux.Resources == nil {
		s.Linux.Resources = &specs.LinuxResources{}
	}
	resources := s.Linux.Resources
	if l.CPUs > 0 {
		quota, period, shares := int64(l.CPUs*cpuPeriod), uint64(cpuPeriod), max(2, uint64(l.CPUs*cpuShares))
		resources.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period, Shares: &shares}
	}
	if l.Memory > 0 {
		resources.Memory = &specs.LinuxMemory{Limit: &l.Memory}
	}
	ulimits := map[string]ulimit.Limit{"nofile": openFiles}
	if l.PIDs > 0 {
		ulimits["nproc"] = ulimit.Limit{Soft: uint64(l.PIDs), Hard: uint64(l.PIDs)}
		onHost := l.PIDs*hostTasksEach + hostTasks
		resources.Pids = &specs.LinuxPids{Limit: &onHost}
	}
	maps.Copy(ulimits, l.Ulimits)
	setUlimits(s, ulimits)
	if l.Disk > 0 {
		annotate(s, diskAnnotation, strconv.FormatInt(l.Disk, 10))
	}
}

// openFiles is as many as gVisor lets a process have open. Few programs raise their own soft limit, and some close all files up to
// it, so that is in between.
var openFiles = ulimit.Limit{Soft: 1 << 16, Hard: 1 << 20}

// setUlimits gives a spec's processes the limits of the names that setrlimit(2) has, in lower case.
func setUlimits(s *specs.Spec, ulimits map[string]ulimit.Limit) {
	s.Process.Rlimits = nil
	for _, name := range slices.Sorted(maps.Keys(ulimits)) {
		u := ulimits[name]
		s.Process.Rlimits = append(s.Process.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(name), Soft: u.Soft, Hard: u.Hard})
	}
}
