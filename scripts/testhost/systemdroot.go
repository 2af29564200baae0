package testhost

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// rootEnv names the host's folder to a process that is to become systemd.
const rootEnv = "SANDPOOL_SYSTEMD_HOST"

// becomeSystemd makes the root folder of a host with systemd and replaces this process by its process 1. It returns only with
// an error. It must run as process 1 of new namespaces; see Host.boot.
func becomeSystemd(dir string) error {
	goruntime.LockOSThread()                                 // a cgroup namespace is of one thread, which must be the one that goes on
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil { // until this process is in its cgroups
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make cgroup namespace: %w", err)
	}
	checkout, err := os.Getwd()
	if err != nil {
		return err
	}
	r := root{dir: filepath.Join(dir, "r")}
	r.build(dir, filepath.Join(checkout, ".build"))
	if r.err != nil {
		return r.err
	}
	// What could change the machine itself.
	for _, capability := range []uintptr{unix.CAP_SYS_MODULE, unix.CAP_SYS_TIME, unix.CAP_SYS_RAWIO} {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
			return err
		}
	}
	if err := os.Unsetenv(rootEnv); err != nil {
		return err
	}
	return unix.Exec(systemdProgram, []string{systemdProgram, "--system", "--unit=multi-user.target", "--show-status=no"}, os.Environ())
}

// root makes a root folder. After the first error it does nothing more.
type root struct {
	dir string
	err error
}

func (r *root) do(what string, f func() error) {
	if r.err == nil {
		if err := f(); err != nil {
			r.err = fmt.Errorf("%s: %w", what, err)
		}
	}
}

func (r *root) at(path string) string { return filepath.Join(r.dir, path) }

func (r *root) mkdir(paths ...string) {
	for _, path := range paths {
		r.do("make folder", func() error { return os.MkdirAll(r.at(path), 0o755) }) //nolint:gosec // a root folder's
	}
}

func (r *root) write(path, text string) {
	r.mkdir(filepath.Dir(path))
	r.do("write file", func() error { return os.WriteFile(r.at(path), []byte(text), 0o644) }) //nolint:gosec // as above
}

func (r *root) link(target, path string) {
	r.mkdir(filepath.Dir(path))
	r.do("link", func() error { return os.Symlink(target, r.at(path)) })
}

func (r *root) mount(kind, path, options string, flags uintptr) {
	r.mkdir(path)
	r.do("mount "+path, func() error { return unix.Mount(kind, r.at(path), kind, flags, options) })
}

// bind shows a path of the machine at the same place.
func (r *root) bind(path string, readOnly bool) {
	r.bindAt(path, path)
	if !readOnly {
		return
	}
	r.do("make read-only "+path, func() error {
		var fs unix.Statfs_t
		if err := unix.Statfs(r.at(path), &fs); err != nil {
			return err
		}
		kept := uintptr(fs.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME) //nolint:gosec // flags are small
		return unix.Mount("", r.at(path), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|kept, "")
	})
}

func (r *root) bindAt(path, at string) {
	r.do("bind "+path, func() error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.IsDir() {
			err = os.MkdirAll(r.at(at), 0o755) //nolint:gosec // as above
		} else {
			err = os.WriteFile(r.at(at), nil, 0o600)
		}
		if err != nil {
			return err
		}
		return unix.Mount(path, r.at(at), "", unix.MS_BIND|unix.MS_REC, "")
	})
}

// build makes the folder and goes into it.
func (r *root) build(dir, build string) {
	r.do("keep mounts to ourselves", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") })
	r.do("make root", func() error { return os.MkdirAll(r.dir, 0o755) }) //nolint:gosec // as above
	r.mount("tmpfs", "/", "mode=755", 0)
	r.bind("/usr", true)
	for _, name := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		if target, err := os.Readlink("/" + name); err == nil {
			r.link(target, name)
		} else if _, err := os.Stat("/" + name); err == nil {
			r.bind("/"+name, true)
		}
	}
	r.mount("tmpfs", "/usr/local", "mode=755", 0)
	r.mkdir("/usr/local/bin")
	for _, name := range []string{"containerd", "ctr", "runsc", "containerd-shim-runsc-v1"} {
		// No links: where they lead to, as below /tmp, services with a /tmp of their own see nothing.
		r.bindAt(filepath.Join(stackOr(filepath.Join(build, "stack")), name), "/usr/local/bin/"+name)
	}
	r.mkdir("/var/lib", "/var/log", "/var/tmp", "/root", "/home", "/srv", "/opt", "/mnt")
	r.etc()
	r.devices()
	r.mount("proc", "/proc", "", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC)
	r.mount("sysfs", "/sys", "", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_RDONLY)
	r.cgroups()
	for _, path := range []string{"/run", "/tmp"} {
		r.mount("tmpfs", path, "mode=755", unix.MS_NOSUID|unix.MS_NODEV)
	}
	r.do("open /tmp", func() error { return os.Chmod(r.at("/tmp"), 0o777|os.ModeSticky) })
	r.bind(build, true)
	if stack := os.Getenv("SANDPOOL_STACK"); stack != "" {
		r.bind(stack, true)
	}
	r.bindAt(filepath.Join(dir, "root"), "/var/lib/containerd")
	r.do("enter", func() error {
		if err := os.Chdir(r.dir); err != nil {
			return err
		}
		if err := unix.PivotRoot(".", "."); err != nil {
			return err
		}
		if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
			return err
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
			return err
		}
		return os.Chdir("/")
	})
}

func stackOr(own string) string {
	if stack := os.Getenv("SANDPOOL_STACK"); stack != "" {
		return stack
	}
	return own
}

// etc makes /etc with as little as systemd and the journal need.
func (r *root) etc() {
	for _, name := range []string{"passwd", "group", "nsswitch.conf", "ld.so.cache"} {
		if data, err := os.ReadFile("/etc/" + name); err == nil {
			r.write("/etc/"+name, string(data))
		}
	}
	r.write("/etc/hostname", "sandpool-test\n")
	r.write("/etc/fstab", "")
	r.write("/etc/os-release", "ID=sandpool-test\n")
	r.write("/etc/machine-id", strings.Repeat("5a", 16)+"\n")
	r.write("/etc/systemd/journald.conf", "[Journal]\nAudit=no\nReadKMsg=no\nStorage=volatile\nRateLimitIntervalSec=0\n")
	// None of what the machine's packages want started, but the journal.
	for _, pattern := range []string{"/usr/lib/systemd/system/*.wants/*", "/lib/systemd/system/*.wants/*", "/usr/lib/systemd/system-generators/*"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			name := filepath.Base(path)
			at := filepath.Join("/etc/systemd/system", name)
			if filepath.Base(filepath.Dir(path)) == "system-generators" {
				at = filepath.Join("/etc/systemd/system-generators", name)
			}
			if _, err := os.Lstat(r.at(at)); err == nil || strings.HasPrefix(name, "systemd-journald") || strings.HasSuffix(name, ".target") {
				continue
			}
			r.link("/dev/null", at)
		}
	}
}

func (r *root) devices() {
	r.mount("tmpfs", "/dev", "mode=755", unix.MS_NOSUID)
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		r.bindAt("/dev/"+name, "/dev/"+name)
	}
	r.bindAt("/dev/null", "/dev/console")
	r.mount("devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=620,gid=5", unix.MS_NOSUID|unix.MS_NOEXEC)
	r.mount("tmpfs", "/dev/shm", "mode=1777", unix.MS_NOSUID|unix.MS_NODEV)
	for name, target := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		r.link(target, "/dev/"+name)
	}
}

func (r *root) cgroups() {
	all, err := cgroupHierarchies()
	r.do("find cgroups", func() error { return err })
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if len(all) != 1 || all[0].inside != cgroupRoot {
		r.mount("tmpfs", cgroupRoot, "mode=755", flags)
	}
	for _, at := range all {
		kind := "cgroup"
		if at.options == "" {
			kind = "cgroup2"
		}
		r.mount(kind, at.inside, at.options, flags)
	}
}
