package doctor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"

	"sandpool/configs"
	"sandpool/daemon/engine"
	"sandpool/daemon/wire"
	"sandpool/runtime"
	"sandpool/runtime/nic"
)

// DefaultConfig is the configuration that the daemon reads when no other is named.
const DefaultConfig = configs.DefaultPath

// commandTimeout bounds a question to systemd.
const commandTimeout = 10 * time.Second

// Options say where to look. All fields but ConfigNamed and Ask are required.
type Options struct {
	Config      string // path of the daemon's configuration
	ConfigNamed bool   // it must exist
	// Ask asks the daemon at a socket who it is and how many sandboxes its pools hold.
	Ask func(ctx context.Context, socket string) (wire.Info, int, error)
}

// Look takes a view of this host. It starts trial sandboxes, and removes them. Its error is that ctx ended.
func Look(ctx context.Context, o Options) (Host, error) {
	h := Host{ConfigPath: o.Config, Root: os.Geteuid() == 0}
	before := clockOffset()
	if o.ConfigNamed {
		h.Config, h.ConfigErr = configs.Load(o.Config)
	} else {
		h.Config, h.ConfigMissing, h.ConfigErr = configs.LoadOrDefault(o.Config)
	}
	h.lookAtKernel()
	h.lookAtClock()
	h.lookAtUnit(ctx)
	if h.ConfigErr != nil {
		h.Config = configs.Default()
	}
	info, sandboxes, err := o.Ask(ctx, h.Config.Daemon.Socket)
	if h.DaemonErr = err; err == nil {
		h.Daemon, h.Sandboxes = &info, sandboxes
	}
	h.lookAtLimits()
	h.lookAtState()
	if _, wanted := h.Config.TemplateWithInterface(); wanted {
		h.NIC = nic.Check()
	}
	if h.ConfigErr == nil {
		h.lookAtStack(ctx)
	}
	h.ClockStep = (clockOffset() - before).Round(time.Millisecond)
	return h, context.Cause(ctx)
}

func (h *Host) lookAtStack(ctx context.Context) {
	cfg := engine.Config(h.Config)
	if !h.Root {
		cfg.StateDir = filepath.Join(os.TempDir(), "sandpool") // others may write nowhere else
	}
	h.Stack, h.StackErr = runtime.Inspect(ctx, cfg)
}

// lookAtState looks where the state folder lies, or will lie once the daemon makes it.
func (h *Host) lookAtState() {
	var fs unix.Statfs_t
	dir := h.Config.Daemon.StateDir
	for unix.Statfs(dir, &fs) != nil && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
	}
	h.StateOnDisk = fs.Type != unix.TMPFS_MAGIC && fs.Type != unix.RAMFS_MAGIC
}

func (h *Host) lookAtKernel() {
	h.Kernel = word("/proc/sys/kernel/osrelease")
	h.UserLimit = number("/proc/sys/user/max_user_namespaces")
	h.Inotify = number("/proc/sys/fs/inotify/max_user_instances")
	h.Controllers = strings.Fields(word("/sys/fs/cgroup/cgroup.controllers"))
	h.CgroupV2 = len(h.Controllers) > 0
	if !h.CgroupV2 {
		h.Controllers = controllersV1()
	}
	for _, path := range matches("/proc/self/ns/*") {
		h.Namespaces = append(h.Namespaces, filepath.Base(path))
	}
	h.Capabilities = effective()
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if h.KVM = err; err == nil {
		_ = device.Close()
	}
	for _, dir := range []string{"/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"} {
		for _, path := range matches(filepath.Join(dir, "*")) {
			h.CNI = append(h.CNI, filepath.Base(path))
		}
	}
}

// controllersV1 are the hierarchies that are mounted: the third field of a line of mounts is the kind, the fourth has the controllers.
func controllersV1() (names []string) {
	for line := range strings.Lines(word("/proc/self/mounts")) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[2] == "cgroup" {
			names = append(names, strings.Split(fields[3], ",")...)
		}
	}
	return names
}

// effective are the capabilities that this process has.
func effective() map[capability.Cap]bool {
	has := map[capability.Cap]bool{}
	own, err := capability.NewPid2(0)
	if err == nil {
		err = own.Load()
	}
	for _, c := range capability.ListKnown() {
		has[c] = err == nil && own.Get(capability.EFFECTIVE, c)
	}
	return has
}

// lookAtLimits reads the daemon's limit of open files, or this process's while there is no daemon.
func (h *Host) lookAtLimits() {
	pid := os.Getpid()
	if h.Daemon != nil {
		pid = h.Daemon.PID
	}
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &limit); err == nil || unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		h.FileLimit = limit.Cur
	}
}

// lookAtClock asks the kernel whether a time server keeps its clock.
func (h *Host) lookAtClock() {
	var state unix.Timex
	if _, err := unix.Adjtimex(&state); err != nil {
		h.ClockErr = fmt.Errorf("ask the kernel: %w", err)
		return
	}
	h.Synchronised = state.Status&unix.STA_UNSYNC == 0
}

// clockOffset is how far the time of day is from the time since the boot: it changes only when the clock is set.
func clockOffset() time.Duration {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return 0
	}
	return time.Duration(time.Now().UnixNano() - boot.Nano())
}

// lookAtUnit asks systemd for the daemon's unit, where it runs the host: see sd_booted(3).
func (h *Host) lookAtUnit(ctx context.Context) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemctl", "show", "sandpoold.service", "--property=LoadState,ActiveState,Result").Output()
	if err != nil {
		h.UnitErr = fmt.Errorf("systemctl show: %w", err)
		return
	}
	h.Unit = map[string]string{}
	for line := range bytes.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		h.Unit[key] = value
	}
}

// word reads a small file of the kernel's; empty if there is none.
func word(path string) string {
	data, _ := os.ReadFile(path)
	return strings.TrimSpace(string(data))
}

func number(path string) uint64 {
	n, _ := strconv.ParseUint(word(path), 10, 64)
	return n
}

func matches(pattern string) []string {
	found, _ := filepath.Glob(pattern) // the patterns are constants
	slices.Sort(found)
	return found
}
