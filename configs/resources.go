package configs

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Caps are the most that any template may ask for. Of each 0 means any amount.
type Caps struct {
	CPUs      float64 `toml:"cpus"`
	MemoryMiB int     `toml:"memory_mib"`
	DiskMiB   int     `toml:"disk_mib"`
	PIDs      int     `toml:"pids"`
}

// The least that a sandbox can do with, so that a slip such as 2 for 2048 is found here.
const (
	minCPUs       = 0.05
	minOvercommit = 0.1
	minMemoryMiB  = 64
	minDiskMiB    = 1
	minPIDs       = 16
	maxCPUs       = 4096
	maxOvercommit = 1000
)

// Mount is a folder or file of the host, or an empty tmpfs, that a sandbox sees at Target.
type Mount struct {
	Type     string `toml:"type"`      // MountBind or MountTmpfs
	Source   string `toml:"source"`    // absolute path on the host, of MountBind
	Target   string `toml:"target"`    // absolute path in the sandbox
	ReadOnly bool   `toml:"read_only"` // of MountBind
	SizeMiB  int    `toml:"size_mib"`  // of MountTmpfs
}

// What a mount may be of.
const (
	MountBind  = "bind"
	MountTmpfs = "tmpfs"
)

// defaultMount also fills the keys that a file's mounts leave out.
var defaultMount = Mount{Type: MountBind, ReadOnly: true}

// ownTargets are the sandbox's own folders: nothing is mounted over, above or in them.
var ownTargets = []string{"/proc", "/sys", "/dev", "/.sandpool"}

func (c Caps) check(found *faults) (ok bool) {
	cpus := found.amount("caps.cpus", c.CPUs, minCPUs, maxCPUs)
	memory := found.amount("caps.memory_mib", float64(c.MemoryMiB), minMemoryMiB, maxReserve)
	disk := found.amount("caps.disk_mib", float64(c.DiskMiB), minDiskMiB, maxReserve)
	pids := found.amount("caps.pids", float64(c.PIDs), minPIDs, maxReserve)
	return cpus && memory && disk && pids
}

// checkResources compares what a template asks for with the caps.
func (t Template) checkResources(key string, caps Caps, found *faults) {
	found.capped(join(key, "cpus"), "caps.cpus", t.CPUs, caps.CPUs, minCPUs, maxCPUs)
	found.capped(join(key, "memory_mib"), "caps.memory_mib", float64(t.MemoryMiB), float64(caps.MemoryMiB), minMemoryMiB, maxReserve)
	found.capped(join(key, "disk_mib"), "caps.disk_mib", float64(t.DiskMiB), float64(caps.DiskMiB), minDiskMiB, maxReserve)
	found.capped(join(key, "pids"), "caps.pids", float64(t.PIDs), float64(caps.PIDs), minPIDs, maxReserve)
}

// followCaps lowers the limits that the file's templates leave out to the caps.
func (c Config) followCaps() {
	for name, t := range c.Templates {
		given := func(key string) bool { return c.places.has(join(join("templates", name), key)) }
		lower(&t.CPUs, c.Caps.CPUs, given("cpus"))
		lower(&t.MemoryMiB, c.Caps.MemoryMiB, given("memory_mib"))
		lower(&t.DiskMiB, c.Caps.DiskMiB, given("disk_mib"))
		lower(&t.PIDs, c.Caps.PIDs, given("pids"))
		c.Templates[name] = t
	}
}

func lower[N int | float64](n *N, most N, given bool) {
	if !given && most > 0 {
		*n = min(*n, most)
	}
}

// amount checks a limit that 0 switches off.
func (f *faults) amount(key string, n, least, most float64) (ok bool) {
	if ok = n == 0 || n >= least && n <= most; !ok {
		f.add(key, "%s: want 0 for none, or %s to %s", short(n), short(least), short(most))
	}
	return ok
}

// capped checks a limit that has a cap. With one there must be a limit.
func (f *faults) capped(key, capKey string, n, most, least, highest float64) {
	switch {
	case !f.amount(key, n, least, highest) || most == 0:
	case n == 0:
		f.add(key, "0: no limit, but the cap %s is %s", capKey, short(most))
	case n > most:
		f.add(key, "%s: above the cap %s, which is %s", short(n), capKey, short(most))
	}
}

func short(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// checkProcess checks who the sandbox's processes are and where they work.
func (t Template) checkProcess(key string, found *faults) {
	name, group, both := strings.Cut(t.User, ":")
	if t.User != "" && (name == "" || both && group == "" || strings.ContainsAny(t.User, " \t\n\x00/") || strings.Contains(group, ":")) {
		found.add(join(key, "user"), `%q: want a name or a number, or two of them as in "app:staff"`, t.User)
	}
	if t.Cwd != "" {
		found.absolute(join(key, "cwd"), t.Cwd)
	}
	if t.Platform != "" {
		found.oneOf(join(key, "platform"), t.Platform, "systrap", "kvm", "ptrace")
	}
}

func (t Template) checkMounts(key string, found *faults) {
	targets := map[string]bool{}
	for i, m := range t.Mounts {
		at := fmt.Sprintf("%s[%d]", join(key, "mounts"), i)
		m.check(at, found)
		target := filepath.Clean(m.Target)
		if targets[target] {
			found.add(join(at, "target"), "%q: mounted twice", m.Target)
		}
		targets[target] = true
		if m.Type == MountTmpfs && t.MemoryMiB > 0 && m.SizeMiB > t.MemoryMiB {
			found.add(join(at, "size_mib"), "%d: a tmpfs is memory, of which the sandbox has %d MiB", m.SizeMiB, t.MemoryMiB)
		}
	}
}

func (m Mount) check(key string, found *faults) {
	found.oneOf(join(key, "type"), m.Type, MountBind, MountTmpfs)
	switch {
	case m.Type == MountTmpfs && m.Source != "":
		found.add(join(key, "source"), "%q: a tmpfs has none", m.Source)
	case m.Type == MountTmpfs:
		found.number(join(key, "size_mib"), m.SizeMiB, 1, maxReserve)
	case m.SizeMiB != 0:
		found.add(join(key, "size_mib"), "%d: only a tmpfs has a size", m.SizeMiB)
	}
	if m.Type == MountBind {
		found.absolute(join(key, "source"), m.Source)
	}
	found.absolute(join(key, "target"), m.Target)
	if i := slices.IndexFunc(ownTargets, func(own string) bool { return overlap(filepath.Clean(m.Target), own) }); i >= 0 {
		found.add(join(key, "target"), "%q: overlaps %s, which is the sandbox's own", m.Target, ownTargets[i])
	}
}

// overlap tells whether one of two clean absolute paths is the other or lies in it.
func overlap(a, b string) bool {
	within := func(inner, outer string) bool {
		return inner == outer || strings.HasPrefix(inner, strings.TrimSuffix(outer, "/")+"/")
	}
	return within(a, b) || within(b, a)
}
