package testhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// systemdProgram is process 1 of a host with systemd. Such a host needs Debian's package systemd, 249 or later.
const systemdProgram = "/lib/systemd/systemd"

// boot starts a systemd in namespaces of its own and returns when it takes orders. It has a root folder made of the machine's
// /usr and little else, no network but loopback, and no units of the machine's but the journal's. The checkout's .build is seen
// inside at its own path, and /var/lib/containerd lies in the host's folder, outside of any overlay or tmpfs. It ends with the thread that started it, and all in it with it.
func (h *Host) boot(ctx context.Context) error {
	if _, err := os.Stat(systemdProgram); err != nil {
		return fmt.Errorf("find systemd: %w (`scripts/stack.sh systemd` installs it)", err)
	}
	if err := os.Mkdir(filepath.Join(h.Dir, "root"), 0o711); err != nil { //nolint:gosec // the mode that containerd gives it
		return err
	}
	groups, err := makeCgroups(h.Namespace)
	if err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe") //nolint:noctx // Close ends it
	cmd.Env = []string{"SANDPOOL_STACK=" + os.Getenv("SANDPOOL_STACK"), rootEnv + "=" + h.Dir, "container=sandpool", "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "SYSTEMD_COLORS=0"}
	cmd.Dir = filepath.Dir(filepath.Dir(filepath.Dir(h.Init))) // the checkout
	begin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
	}
	if needsUserNamespace() {
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = ids, ids
		cmd.SysProcAttr.GidMappingsEnableSetgroups = true
	}
	p, err := h.spawnLocked("systemd", cmd)
	if err != nil {
		return err
	}
	h.systemd = p
	for _, dir := range groups {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(p.Pid())), 0o600); err != nil {
			return fmt.Errorf("put systemd into its cgroup: %w", err)
		}
	}
	if err := begin.Close(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("systemd did not start within %s", startTimeout))
	defer cancel()
	if err := p.AwaitSocket(ctx, h.Inside("/run/systemd/private")); err != nil {
		return err
	}
	return poll(ctx, func() bool {
		out, _ := h.Systemctl(ctx, "is-system-running").Output() // fails for all states but one
		state := strings.TrimSpace(string(out))
		return state == "running" || state == "degraded"
	})
}

// spawnLocked is Spawn from a thread that lives as long as the process: its end is that of the process, and so is an end of
// the whole test.
func (h *Host) spawnLocked(name string, cmd *exec.Cmd) (*Process, error) {
	type spawned struct {
		p   *Process
		err error
	}
	started := make(chan spawned)
	go func() {
		goruntime.LockOSThread()
		defer goruntime.UnlockOSThread()
		p, err := h.Spawn(name, cmd)
		started <- spawned{p, err}
		if err == nil {
			<-p.Done()
		}
	}()
	s := <-started
	return s.p, s.err
}

// Inside is where a path of the host with systemd is on the machine.
func (h *Host) Inside(path string) string {
	return fmt.Sprintf("/proc/%d/root%s", h.systemd.Pid(), path)
}

// In returns a command that runs in the namespaces of the host with systemd.
func (h *Host) In(ctx context.Context, name string, args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(h.systemd.Pid()), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"}
	if needsUserNamespace() {
		enter = append(enter, "--user")
	}
	cmd := exec.CommandContext(ctx, "nsenter", append(append(enter, "--", name), args...)...)
	cmd.Dir = "/"
	return cmd
}

// Systemctl returns a systemctl command on the host's systemd.
func (h *Host) Systemctl(ctx context.Context, args ...string) *exec.Cmd {
	return h.In(ctx, "systemctl", append([]string{"--no-pager"}, args...)...)
}

// makeCgroups makes a cgroup of that name in every hierarchy and returns their folders. removeCgroups removes them.
func makeCgroups(name string) ([]string, error) {
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return nil, err
	}
	var made []string
	for _, at := range hierarchies {
		dir := filepath.Join(at.outside, name)
		if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // as all cgroups
			return nil, err
		}
		// A new cpuset of version 1 is empty and takes no process.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if data, err := os.ReadFile(filepath.Join(at.outside, file)); err == nil && at.options == "cpuset" {
				if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
					return nil, err
				}
			}
		}
		made = append(made, dir)
	}
	return made, nil
}

// hierarchy is one of the machine's trees of cgroups.
type hierarchy struct {
	options string // of its mount; empty for version 2
	outside string // where the machine has it
	inside  string // where systemd looks for it
}

func cgroupHierarchies() ([]hierarchy, error) {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []hierarchy{{outside: cgroupRoot, inside: cgroupRoot}}, nil
	}
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	var all []hierarchy
	for line := range strings.Lines(string(data)) {
		fields := strings.SplitN(line, ":", 3)
		if len(fields) != 3 {
			return nil, errors.New("read /proc/self/cgroup: unknown format")
		}
		name := strings.TrimPrefix(fields[1], "name=")
		if name == "" {
			name = "unified"
		}
		options := fields[1]
		if strings.HasPrefix(options, "name=") {
			options = "none," + options
		}
		dir := filepath.Join(cgroupRoot, name)
		var fs unix.Statfs_t
		if err := unix.Statfs(dir, &fs); err != nil || fs.Type != unix.CGROUP_SUPER_MAGIC && fs.Type != unix.CGROUP2_SUPER_MAGIC {
			continue // not mounted on the machine
		}
		all = append(all, hierarchy{options: options, outside: dir, inside: dir})
	}
	return all, nil
}
