package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/capability"
)

const (
	asRoot        = "sudo sandpool doctor"
	setController = "set systemd.unified_cgroup_hierarchy=1 in the kernel's command line and restart the host"
)

// neededCapabilities are those without which sandboxes cannot be started or killed.
var neededCapabilities = []capability.Cap{
	capability.CAP_CHOWN, capability.CAP_DAC_OVERRIDE, capability.CAP_KILL, capability.CAP_SETGID, capability.CAP_SETUID,
	capability.CAP_SYS_ADMIN, capability.CAP_SYS_CHROOT, capability.CAP_SYS_PTRACE,
}

// hostChecks judge the host itself.
func hostChecks(h Host) []Result {
	return []Result{
		checkUser(h), checkKernel(h), checkCgroups(h), checkNamespaces(h), checkCapabilities(h), checkClock(h), checkUnit(h), checkDaemon(h),
	}
}

func checkUser(h Host) Result {
	if !h.Root {
		return warning("user", asRoot, "not root: containerd and the platforms are checked as far as this user may")
	}
	return good("user", "root")
}

// checkKernel wants pidfd_open, which the daemon kills with.
func checkKernel(h Host) Result {
	var major, minor int
	if _, err := fmt.Sscanf(h.Kernel, "%d.%d", &major, &minor); err != nil {
		return warning("kernel", "uname -r", "release %q is not understood; Linux 5.3 or later is needed", h.Kernel)
	}
	if major < 5 || major == 5 && minor < 3 {
		return failure("kernel", "apt-get install linux-image-amd64", "Linux %s is too old: the daemon kills by pidfd, which 5.3 brought", h.Kernel)
	}
	return good("kernel", "Linux %s", h.Kernel)
}

func checkCgroups(h Host) Result {
	version := "v1"
	if h.CgroupV2 {
		version = "v2"
	}
	var missing []string
	for _, name := range []string{"cpu", "memory", "pids"} {
		if !slices.Contains(h.Controllers, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return failure("cgroups", setController, "%s without %s: the limits of sandboxes cannot be set", version, strings.Join(missing, ", "))
	}
	return good("cgroups", "%s with cpu, memory and pids", version)
}

func checkNamespaces(h Host) Result {
	var missing []string
	for _, name := range []string{"ipc", "mnt", "net", "pid", "user", "uts"} {
		if !slices.Contains(h.Namespaces, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return failure("namespaces", "uname -r", "this kernel has no namespaces of kind %s, in which runsc encloses sandboxes", strings.Join(missing, ", "))
	}
	if h.UserLimit == 0 {
		return failure("namespaces", "sysctl -w user.max_user_namespaces=15000", "no user namespaces may be made, in which runsc encloses sandboxes")
	}
	return good("namespaces", "all kinds, %d user namespaces allowed", h.UserLimit)
}

// checkCapabilities is about what the daemon and containerd, started as this user is, would have.
func checkCapabilities(h Host) Result {
	if !h.Root {
		return info("capabilities", "not checked: the daemon runs as root")
	}
	var missing []string
	for _, c := range neededCapabilities {
		if !h.Capabilities[c] {
			missing = append(missing, "CAP_"+strings.ToUpper(c.String()))
		}
	}
	if len(missing) > 0 {
		return failure("capabilities", "systemctl edit sandpoold.service", "%s missing here: sandboxes cannot be started or killed without", strings.Join(missing, ", "))
	}
	if !h.Capabilities[capability.CAP_SYS_RESOURCE] {
		return warning("capabilities", "systemctl edit containerd.service",
			"CAP_SYS_RESOURCE missing here: a containerd that lacks it too must run in a user namespace, else the shim gives up")
	}
	return good("capabilities", "all that are needed")
}

func checkClock(h Host) Result {
	const repair = "timedatectl set-ntp true"
	switch {
	case h.ClockStep.Abs().Milliseconds() > 500:
		return warning("clock", repair, "it was set by %s during this check: the ends of claims move with it", h.ClockStep)
	case h.ClockErr != nil:
		return info("clock", "steady; whether it follows a time server is not known: %v", h.ClockErr)
	case !h.Synchronised:
		return warning("clock", repair, "steady, but no time server keeps it: should it be set, the ends of claims move with it")
	default:
		return good("clock", "steady, and kept by a time server")
	}
}

func checkUnit(h Host) Result {
	const unit = "sandpoold.service"
	switch {
	case h.Unit == nil && h.UnitErr == nil:
		return info("unit", "systemd does not run this host")
	case h.UnitErr != nil:
		return warning("unit", "systemctl status "+unit, "its state is not known: %v", h.UnitErr)
	case h.Unit["LoadState"] != "loaded":
		return info("unit", "%s is %s", unit, h.Unit["LoadState"])
	case h.Unit["ActiveState"] == "failed":
		return failure("unit", "journalctl -u "+unit+" -n 50", "%s failed: %s", unit, h.Unit["Result"])
	case h.Unit["ActiveState"] != "active":
		return warning("unit", "systemctl start "+unit, "%s is %s", unit, h.Unit["ActiveState"])
	default:
		return good("unit", "%s is active", unit)
	}
}

func checkDaemon(h Host) Result {
	if h.Daemon == nil {
		return info("daemon", "none answers: %v", h.DaemonErr)
	}
	return good("daemon", "sandpoold %s answers, pid %d", h.Daemon.Version, h.Daemon.PID)
}
