package daemontest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sandpool/configs"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// attacker is a user of the host who may use the socket.
const attacker = 1234

// asAttacker runs a program on the host.
func asAttacker(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: attacker, Gid: attacker}}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// openFolder makes a folder that users of the host can reach, on a file system whose set-uid programs count.
func openFolder(t *testing.T) string {
	t.Helper()
	for _, base := range []string{os.TempDir(), "/var/tmp", "/var/lib"} {
		var fs unix.Statfs_t
		if err := unix.Statfs(base, &fs); err != nil || fs.Flags&unix.ST_NOSUID != 0 {
			continue
		}
		dir, err := os.MkdirTemp(base, "open") //nolint:usetesting // others must reach it
		if err := errors.Join(err, os.Chmod(dir, 0o755)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		return dir
	}
	t.Fatal("find a folder without nosuid: none")
	return ""
}

// TestSetuidProgramByAWritableMount lets root in a sandbox write a set-uid program to the host, and another user of the host run it.
func TestSetuidProgramByAWritableMount(t *testing.T) {
	shared := openFolder(t)
	secret := filepath.Join(host.Dir, "secret")
	program, err := os.ReadFile("/bin/cat")
	if err := errors.Join(err, os.WriteFile(secret, []byte("root's own"), 0o600)); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t, 0, 1)
	tmpl := cfg.Templates["default"]
	tmpl.Mounts = []configs.Mount{{Type: configs.MountBind, Source: shared, Target: "/mnt/rw"}}
	cfg.Templates["default"] = tmpl
	d := start(t, cfg)
	c, err := d.Claim(t.Context(), wire.ClaimRequest{})
	if err == nil { // this is how far it must not come
		code, err := d.Exec(t.Context(), c.ID, wire.ExecRequest{Args: []string{"sh", "-c", "cat >/mnt/rw/x && chmod 4755 /mnt/rw/x"}},
			client.Stdio{In: bytes.NewReader(program)})
		if released := d.Release(t.Context(), c.ID); err != nil || code != 0 || released != nil {
			t.Fatalf("write a program: exit code %d, %v, %v", code, err, released)
		}
		out, err := asAttacker(t, filepath.Join(shared, "x"), secret)
		t.Fatalf("uid %d reads %s: %q, %v", attacker, secret, out, err)
	}
	for _, part := range []string{shared, "nosuid and nodev", "chmod go-x", "read_only = true"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v: does not tell %q", err, part)
		}
	}
}

// TestFoldersOfOthers lets another user make each of the daemon's folders before the daemon does, and look for what it puts there.
func TestFoldersOfOthers(t *testing.T) {
	public := openFolder(t)
	if err := os.Chmod(public, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	for name, set := range map[string]func(cfg *configs.Config, path string){
		"state":       func(cfg *configs.Config, path string) { cfg.Daemon.StateDir = path },
		"checkpoints": func(cfg *configs.Config, path string) { cfg.Checkpoints.Dir = path },
		"socket":      func(cfg *configs.Config, path string) { cfg.Daemon.Socket = filepath.Join(path, "s") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(public, name)
			if out, err := asAttacker(t, "mkdir", "-m", "0777", dir); err != nil {
				t.Fatalf("mkdir: %v: %s", err, out)
			}
			cfg := testConfig(t, 0, 1)
			set(&cfg, dir)
			if got := failToStart(t, cfg); !strings.Contains(got, dir+" belongs to uid 1234 and can be written by others (mode 0777)") {
				t.Errorf("%s", got)
			}
			if found, err := os.ReadDir(dir); err != nil || len(found) > 0 {
				t.Errorf("the daemon left %v there, %v", found, err)
			}
		})
	}
}
