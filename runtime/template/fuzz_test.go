package template

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"sandpool/runtime/rootfs"
)

// hostUser is a user that only the host has, and the host's number of it.
const (
	hostUser   = "ghost"
	hostNumber = 424242
)

// makeFiles makes what the lines of text say, as far as it can be made: d PATH, f PATH CONTENT, l PATH TARGET or p PATH, where _ in a
// content stands for a new line. Beside the folder that it returns are the files of a host.
func makeFiles(t *testing.T, text string) (dir string) {
	t.Helper()
	beside := t.TempDir()
	dir = filepath.Join(beside, "image")
	users := hostUser + ":x:424242:424242::/:/bin/sh\n"
	err := os.MkdirAll(filepath.Join(beside, "etc"), 0o755)
	for _, name := range []string{"passwd", "group"} {
		if err == nil {
			err = os.WriteFile(filepath.Join(beside, "etc", name), []byte(users), 0o600)
		}
	}
	if err == nil {
		err = os.Mkdir(dir, 0o755)
	}
	root, openErr := os.OpenRoot(dir)
	if err != nil || openErr != nil {
		t.Fatal(err, openErr)
	}
	defer func() { _ = root.Close() }()
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, more, _ := strings.Cut(rest, " ")
		_ = root.MkdirAll(filepath.Dir(name), 0o755)
		switch kind {
		case "d":
			_ = root.MkdirAll(name, 0o755)
		case "f":
			if info, err := root.Stat(name); err == nil && !info.Mode().IsRegular() {
				continue
			}
			_ = root.WriteFile(name, []byte(strings.ReplaceAll(more, "_", "\n")), 0o644)
		case "l":
			_ = root.Symlink(strings.ReplaceAll(more, "HOST", beside), name)
		case "p":
			if folder, err := root.Open(filepath.Dir(name)); err == nil {
				_ = unix.Mknodat(int(folder.Fd()), filepath.Base(name), unix.S_IFIFO|0o644, 0)
				_ = folder.Close()
			}
		}
	}
	return dir
}

// defaultSpec is a spec as containerd makes it.
func defaultSpec() *specs.Spec {
	s := &specs.Spec{Process: &specs.Process{Cwd: "/", NoNewPrivileges: true}, Linux: &specs.Linux{}}
	for _, to := range []string{"/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/run"} {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: to, Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "size=65536k"}})
	}
	return s
}

// settled is settle in time.
func settled(t *testing.T, template Template, config ocispec.ImageConfig, files *rootfs.Files, init string) (*specs.Spec, []string, error) {
	t.Helper()
	s := defaultSpec()
	var command []string
	done := make(chan error, 1)
	go func() {
		var err error
		command, err = template.Settle(s, config, files, init)
		done <- err
	}()
	select {
	case err := <-done:
		return s, command, err
	case <-time.After(time.Minute):
		t.Fatal("it hangs")
		return nil, nil, nil
	}
}

// FuzzSettle shows that any image's configuration and files give a spec that gVisor can start, or a reason, and nothing of the host's.
func FuzzSettle(f *testing.F) {
	const users = "d etc\nf etc/passwd root:x:0:0::/:/bin/sh_app:x:1000:1000::/app:_\nf etc/group app:x:1000:_staff:x:50:app\n"
	for _, seed := range []struct{ config, user, files string }{
		{`{"config": {}}`, "", ""},
		{`{"config": {"User": "app", "Env": ["A=1", "B"], "WorkingDir": "srv", "Entrypoint": ["/x"], "Cmd": ["y"]}}`, "", users},
		{`{"config": {"User": "ghost"}}`, "", "l etc HOST/etc\n"},
		{`{"config": {"User": "ghost"}}`, "", "d etc\nl etc/passwd ../../etc/passwd\nl etc/group HOST/etc/group\n"},
		{`{"config": {"User": "x:y"}}`, "ghost:ghost", "d etc\nl etc/passwd /proc/self/root/etc/passwd\n"},
		{`{"config": {"WorkingDir": "/run/x/../../tmp"}}`, "1:2", "l run var/run\nl var/run ../run\nl tmp /\n"},
		{`{"config": {"WorkingDir": "/a/b"}}`, "0", "l a b\nl b a\np etc/passwd\n"},
		{`{"config": {"User": "0:app"}}`, "", "p etc/group\nl run /dev/x\nl .sandpool /srv\n"},
		{`{"config": {"User": "99999999999999999999"}}`, "-1", "f run x\nl proc nowhere\n"},
		{`{"config": {"Env": ["\u0000=1", "=", "PATH", "A=\u0000"], "Cmd": ["x"]}}`, "", users},
		{`{"config": {"Cmd": ["\u0000"], "WorkingDir": "\u0000"}}`, ":", "l tmp nowhere\nl run tmp/run\n"},
	} {
		f.Add([]byte(seed.config), seed.user, seed.files)
	}
	f.Fuzz(func(t *testing.T, config []byte, user, text string) {
		var image ocispec.Image
		if len(text) > 4<<10 || json.Unmarshal(config, &image) != nil {
			return // no image
		}
		dir := makeFiles(t, text)
		files, err := rootfs.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = files.Close() }()
		init := filepath.Join(filepath.Dir(dir), "etc", "passwd") // any file
		template := Template{User: user, ImageCommand: true, Limits: Limits{CPUs: 1.5, Memory: 128 << 20, Disk: 8 << 20, PIDs: 40}, Mounts: []Mount{{Target: "/run/in", Size: 1}, {Target: "/data", Size: 1}}}
		s, command, err := settled(t, template, image.Config, files, init)
		if err != nil {
			names := func(word string) bool { return strings.Contains(err.Error(), word) }
			if !slices.ContainsFunc([]string{"user", "mount on /", "working folder (cwd)", "command"}, names) || len(err.Error()) > 2000 {
				t.Errorf("the reason is %q", err)
			}
			if names(hostUser+":x") || names("root:x") {
				t.Errorf("the host's data in %q", err)
			}
			return
		}
		checkSettled(t, s, command, files)
	})
}

// checkSettled looks for what gVisor would refuse, and for what is the host's.
func checkSettled(t *testing.T, s *specs.Spec, command []string, files *rootfs.Files) {
	t.Helper()
	if who := s.Process.User; who.UID == hostNumber || who.GID == hostNumber || slices.Contains(who.AdditionalGids, hostNumber) {
		t.Errorf("the host's user: %+v", who)
	}
	for _, text := range slices.Concat(command, s.Process.Env, []string{s.Process.Cwd}) {
		if strings.Contains(text, "\x00") {
			t.Errorf("%q has a NUL in it", text)
		}
	}
	for _, entry := range s.Process.Env {
		if name, _, ok := strings.Cut(entry, "="); !ok || name == "" {
			t.Errorf("variable %q", entry)
		}
	}
	if !filepath.IsAbs(s.Process.Cwd) || !slices.ContainsFunc(s.Process.Env, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
		t.Errorf("folder %q, environment %q", s.Process.Cwd, s.Process.Env)
	}
	seen := map[string]bool{}
	for _, m := range s.Mounts {
		to, info, err := files.Resolve(m.Destination)
		below := slices.ContainsFunc(s.Mounts, func(over specs.Mount) bool {
			return over.Destination != m.Destination && within(m.Destination, over.Destination)
		})
		moved := !below && m.Type != noFileSystem && !slices.Contains(gvisorTargets, m.Destination)
		switch {
		case seen[m.Destination] || filepath.Clean(m.Destination) != m.Destination || m.Destination == "/":
			t.Errorf("mount on %q", m.Destination)
		case moved && (err != nil || to != m.Destination):
			t.Errorf("mount on %q, which leads to %q: %v", m.Destination, to, err)
		case moved && info != nil && info.IsDir() != (m.Type != "bind"):
			t.Errorf("mount of %s on %q, which is a %s", m.Type, m.Destination, info.Mode())
		}
		seen[m.Destination] = true
	}
}
