package doctor

import (
	"fmt"

	"sandpool/configs"
)

// What one paused sandbox takes from the host at the most, roughly: bounds for a warning, of which docs/doctor.md tells what was
// measured. What its commands take comes on top.
const (
	memoryEach = 32 << 20 // bytes
	pidsEach   = 64       // processes and threads
	filesEach  = 192      // open files, in the kernel's count
	diskEach   = 8 << 20  // bytes
)

// spare is what others on the host use of a limit that the sandboxes share.
const spare = 128

// roomChecks judge what is left against what the pools will take.
func roomChecks(h Host) []Result {
	all := []Result{}
	if h.Stack.ContainerdErr != nil || h.Stack.HeadroomErr != nil {
		text := "not measured without containerd"
		if h.Stack.HeadroomErr != nil {
			text = h.Stack.HeadroomErr.Error()
		}
		all = append(all, info("room", "%s", text))
	} else {
		left, keep := h.Stack.Headroom, h.Config.Reserves
		all = append(all,
			h.room("memory", "MiB", left.Memory>>20, keep.MemoryMiB, memoryEach>>20, "free -m"),
			h.room("disk", "MiB", left.Disk>>20, keep.DiskMiB, diskEach>>20, "ctr -n "+h.Config.Containerd.Namespace+" images ls"),
			h.room("pids", "tasks", left.PIDs, keep.PIDs, pidsEach, "sysctl -w kernel.pid_max=4194304"),
			h.room("open files", "files", left.Files, keep.Files, filesEach, "sysctl -w fs.file-max=9223372036854775807"),
		)
	}
	return append(all, checkFileLimit(h), checkInotify(h), checkStateFolder(h))
}

// room compares what is left with what the daemon keeps for others and what the sandboxes take that its pools still want.
func (h Host) room(name, unit string, left uint64, reserve int, each uint64, repair string) Result {
	missing := max(target(h.Config)-h.Sandboxes, 0)
	need := uint64(missing) * each
	switch {
	case left < uint64(reserve): //nolint:gosec // not negative, as configs checks
		return failure(name, repair, "%d %s left, below the reserve of %d: no sandbox is started", left, unit, reserve)
	case left < uint64(reserve)+need: //nolint:gosec // likewise
		return warning(name, repair, "%d %s left: the reserve is %d and the %d sandboxes that the pools still want take about %d", left, unit, reserve, missing, need)
	case need == 0:
		return good(name, "%d %s left, %d reserved", left, unit, reserve)
	default:
		return good(name, "%d %s left, %d reserved, about %d more for the pools", left, unit, reserve, need)
	}
}

// target is how many sandboxes the pools want at rest, most how many there may be.
func target(c configs.Config) (n int) {
	for name := range c.Templates {
		n += c.PoolOf(name).Target
	}
	return n
}

func most(c configs.Config) (n int) {
	for name := range c.Templates {
		n += c.PoolOf(name).Max
	}
	return n
}

// checkFileLimit is about the daemon's own files: of each command under exec it holds pipes and a connection.
func checkFileLimit(h Host) Result {
	need := uint64(spare + 8*most(h.Config)) //nolint:gosec // not negative
	if h.FileLimit < need {
		return warning("file limit", "systemctl edit sandpoold.service", "the daemon may open %d files: commands in all of %d sandboxes need about %d (LimitNOFILE=)", h.FileLimit, most(h.Config), need)
	}
	return good("file limit", "%d, about %d needed", h.FileLimit, need)
}

// checkInotify: with cgroups v2 each shim watches its sandbox's memory by an inotify instance of its own.
func checkInotify(h Host) Result {
	need := uint64(spare)
	if h.CgroupV2 {
		need += uint64(most(h.Config)) //nolint:gosec // not negative
	}
	if h.Inotify < need {
		return warning("inotify", fmt.Sprintf("sysctl -w fs.inotify.max_user_instances=%d", need), "%d instances for each user, about %d needed", h.Inotify, need)
	}
	return good("inotify", "%d instances for each user, about %d needed", h.Inotify, need)
}

// checkStateFolder is about the file that each pause and each resume replaces: a file system on a disk may write it out before it has the name.
func checkStateFolder(h Host) Result {
	dir := h.Config.Daemon.StateDir
	if h.StateOnDisk {
		return warning("state folder", "findmnt --target "+dir, "%s is on a disk, for which each pause and each claim of a paused sandbox may wait: set daemon.state_dir to a folder on a tmpfs, unless the log of events in it is to outlive a restart of the host", dir)
	}
	return good("state folder", "%s is in memory", dir)
}
