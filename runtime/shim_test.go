package runtime

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sandpool/runtime/runsc"
)

// TestRestoreScriptIsNeverSwapped calls a restored sandbox's runsc as a shell does that opens its script late: after the
// settling, and after the daemon was started with another runsc.
func TestRestoreScriptIsNeverSwapped(t *testing.T) {
	cfg := Config{StateDir: t.TempDir()}
	id := NewID()
	if err := os.Mkdir(cfg.shimDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := (runsc.ShimFile{Program: "/bin/echo"}).Write(cfg.sandboxFile(id, shimSuffix)); err != nil {
		t.Fatal(err)
	}
	begin := func(program string) *Engine {
		t.Helper()
		if err := runsc.WriteRestorer(cfg.StateDir, program, cfg.shimDir()); err != nil {
			t.Fatal(err)
		}
		return &Engine{cfg: cfg, runsc: runsc.Program{Path: program}}
	}
	expect := func(want string, args ...string) {
		t.Helper()
		script := cfg.sandboxFile(id, runsc.RestorerSuffix)
		if out, err := exec.CommandContext(t.Context(), "/bin/sh", append([]string{script}, args...)...).CombinedOutput(); err != nil || string(out) != want+"\n" {
			t.Errorf("%q: %v, %q; want %q", args, err, out, want)
		}
		if info, err := os.Stat(script); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("the script is %v, %v; want one that can be run", info, err)
		}
	}
	e := begin("/bin/echo")
	if err := e.writeRestoreFiles(id, "/checkpoint"); err != nil {
		t.Fatal(err)
	}
	expect("restore --detach --background --image-path="+cfg.sandboxFile(id, runsc.ImageSuffix)+" "+id, "start", id)
	if err := e.settleRestoreFiles(id); err != nil {
		t.Fatal(err)
	}
	expect("wait "+id, "wait", id)
	old, err := os.Stat(cfg.sandboxFile(id, runsc.RestorerSuffix))
	if err != nil {
		t.Fatal(err)
	}
	begin("/bin/echo")
	begin("/bin/false")
	expect("wait "+id, "wait", id)
	if now, err := os.Stat(cfg.sandboxFile(id, runsc.RestorerSuffix)); err != nil || !os.SameFile(old, now) {
		t.Errorf("the script was replaced: %v", err)
	}
	if err := os.Remove(cfg.sandboxFile(id, runsc.RestorerSuffix)); err != nil { // as a destroy does
		t.Fatal(err)
	}
	begin("/bin/false")
	if left, err := filepath.Glob(filepath.Join(cfg.StateDir, "runsc-restore*")); err != nil || len(left) != 1 {
		t.Errorf("scripts %q, %v; want that of the last runsc alone", left, err)
	}
	if _, err := os.Lstat(cfg.sandboxFile(id, runsc.RestorerSuffix)); !os.IsNotExist(err) {
		t.Errorf("link: %v, want %v", err, fs.ErrNotExist)
	}
}

// TestShims starts a sandbox by each of the shims, named in each of the ways that there are.
func TestShims(t *testing.T) {
	const own, stock = "io.containerd.sandpool.v1", "io.containerd.runsc.v1"
	wants := map[string]string{stock: stock, host.Shim: host.Shim, runsc.AutoShim: stock}
	if program, err := os.ReadFile(filepath.Join(filepath.Dir(host.Shim), "containerd-shim-sandpool-v1")); err == nil { // it is not among official builds
		wants[own], wants[runsc.AutoShim] = own, own
		if !bytes.Contains(program, []byte("pkg/shim.freeMemory")) {
			t.Error("the project's shim is gVisor's: it lacks what lets it rest")
		}
		if program, err := os.ReadFile(host.Runsc); err != nil || !bytes.Contains(program, []byte("gvisor/rest.onCollection")) {
			t.Errorf("the project's runsc is gVisor's: it lacks what lets it rest (%v)", err)
		}
	}
	for shim, want := range wants {
		t.Run(filepath.Base(shim), func(t *testing.T) {
			cfg := testConfig(t)
			cfg.Shim = shim
			e := openEngine(t, cfg)
			container, err := e.client.LoadContainer(t.Context(), startSandbox(t, e))
			if err != nil {
				t.Fatal(err)
			}
			info, err := container.Info(t.Context())
			if err != nil || info.Runtime.Name != want || e.Info().Shim != want {
				t.Errorf("it runs by %q, and the engine says %q (%v): want %q", info.Runtime.Name, e.Info().Shim, err, want)
			}
		})
	}
}
