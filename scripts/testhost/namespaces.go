package testhost

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// runFolder holds the sockets and states of shims whatever containerd's own folders are: it is compiled into them.
const runFolder = "/run/containerd"

// privateRun are the folders in runFolder that a host covers with its own. They are containerd's alone; clients use others.
var privateRun = []string{"s", "runsc"}

// namespaces are the mount namespace in which containerd and all that it starts run, so that no mount shows outside, and
// on a machine without CAP_SYS_RESOURCE a user namespace. Open files keep them while containerd is down.
type namespaces struct {
	user, mnt *os.File // user is nil where none is needed
}

// newNamespaces makes them with a short-lived child. With disk over 0, containerd's root is a file system of that size.
func newNamespaces(dir string, disk uint64) (_ *namespaces, err error) {
	var script strings.Builder
	script.WriteString("set -e; ")
	for _, name := range privateRun {
		own := filepath.Join(dir, name)
		if err := os.Mkdir(own, 0o711); err != nil { //nolint:gosec // the mode that containerd gives what it covers
			return nil, err
		}
		fmt.Fprintf(&script, "mount --bind %s %s; ", own, filepath.Join(runFolder, name))
	}
	if disk > 0 {
		root := filepath.Join(dir, "root")
		if err := os.Mkdir(root, 0o711); err != nil { //nolint:gosec // as above
			return nil, err
		}
		fmt.Fprintf(&script, "mount -t tmpfs -o size=%d,mode=711 tmpfs %s; ", disk, root)
	}
	script.WriteString("echo ready; read -r _ || true")
	child := exec.Command("/bin/sh", "-c", script.String()) //nolint:noctx // ends when its stdin closes
	child.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	inUser := needsUserNamespace()
	if inUser {
		// Any map but the full range makes gVisor's shim forgive a refused oom_score_adj.
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
		child.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		child.SysProcAttr.UidMappings, child.SysProcAttr.GidMappings = ids, ids
		child.SysProcAttr.GidMappingsEnableSetgroups = true
	}
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := child.Start(); err != nil {
		return nil, fmt.Errorf("make namespaces: %w", err)
	}
	defer func() {
		_ = stdin.Close()
		if waitErr := child.Wait(); waitErr != nil && err == nil {
			err = fmt.Errorf("make namespaces: %w", waitErr)
		}
	}()
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		return nil, fmt.Errorf("make namespaces: %w", err)
	}
	return openNamespaces(child.Process.Pid, inUser)
}

func openNamespaces(pid int, inUser bool) (*namespaces, error) {
	var ns namespaces
	var err error
	if ns.mnt, err = os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid)); err != nil {
		return nil, err
	}
	if inUser {
		if ns.user, err = os.Open(fmt.Sprintf("/proc/%d/ns/user", pid)); err != nil {
			ns.close()
			return nil, err
		}
	}
	return &ns, nil
}

// command returns a command that runs name in the namespaces. nsenter execs it, so the process id is its own.
func (ns *namespaces) command(name string, args ...string) *exec.Cmd {
	fd := func(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }
	enter := []string{"--mount=" + fd(ns.mnt)}
	if ns.user != nil {
		enter = append(enter, "--user="+fd(ns.user))
	}
	enter = append(enter, "--", name)
	return exec.Command("nsenter", append(enter, args...)...) //nolint:noctx // its Process owns its end
}

func (ns *namespaces) close() {
	if ns != nil {
		closeFile(ns.mnt)
		closeFile(ns.user)
	}
}

// needsUserNamespace reports whether gVisor's shim would give up here: it lowers its own oom_score_adj, and forgives
// the refusal only in a user namespace.
func needsUserNamespace() bool {
	var data [2]unix.CapUserData
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&head, &data[0]); err == nil && data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0 {
		return false
	}
	ids, err := os.ReadFile("/proc/self/uid_map")
	return err != nil || strings.Join(strings.Fields(string(ids)), " ") == "0 0 4294967295"
}

// holdRunFolder makes the folders that newNamespaces covers and takes a shared lock on them.
func holdRunFolder() (*os.File, error) {
	for {
		if err := os.MkdirAll(runFolder, 0o711); err != nil { //nolint:gosec // the mode that containerd gives it
			return nil, err
		}
		f, err := os.Open(runFolder)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
			return nil, fmt.Errorf("lock %s: %w", runFolder, err)
		}
		// Another host may have removed it before we had the lock.
		if !isStill(f, runFolder) {
			closeFile(f)
			continue
		}
		for _, name := range privateRun {
			if err := os.MkdirAll(filepath.Join(runFolder, name), 0o711); err != nil { //nolint:gosec // as above
				closeFile(f)
				return nil, err
			}
		}
		return f, nil
	}
}

// releaseRunFolder lets go of the run folder, and removes it when this was the last host and nothing is in it.
func releaseRunFolder(f *os.File) {
	defer closeFile(f)
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return // another host lives; the last one removes the folder
	}
	for _, name := range append(privateRun, "fifo", ".") {
		// A folder that is in use by others is not empty, and stays.
		_ = unix.Rmdir(filepath.Join(runFolder, name))
	}
}

func isStill(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}
