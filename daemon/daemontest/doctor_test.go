package daemontest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sandpool/configs"
	"sandpool/daemon/client"
	"sandpool/daemon/doctor"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
	"sandpool/pool"
	"sandpool/scripts/testhost"
)

// examine lets the doctor look at this host with a configuration file that says what cfg does.
func examine(t *testing.T, cfg configs.Config) map[string]doctor.Result {
	t.Helper()
	return examineFile(t, doctorConfig(t, cfg))
}

func doctorConfig(t *testing.T, cfg configs.Config) string {
	t.Helper()
	text := fmt.Sprintf("version = 1\n[daemon]\nsocket = %q\nstate_dir = %q\n[containerd]\naddress = %q\nnamespace = %q\n[runsc]\npath = %q\nshim = %q\ninit = %q\ncanary_timeout = %q\n",
		cfg.Daemon.Socket, cfg.Daemon.StateDir, cfg.Containerd.Address, cfg.Containerd.Namespace, cfg.Runsc.Path, cfg.Runsc.Shim, cfg.Runsc.Init, cfg.Runsc.CanaryTimeout)
	text += "[limits]\nkill_timeout = \"20s\"\n[reserves]\nmemory_mib = 0\ndisk_mib = 0\npids = 0\nfiles = 0\n" // the machine may be short for reasons of its own
	path := filepath.Join(t.TempDir(), "c.toml")
	text, err := host.Trusted(text)
	if err := errors.Join(err, os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

func examineFile(t *testing.T, path string) map[string]doctor.Result {
	t.Helper()
	h, err := doctor.Look(t.Context(), doctor.Options{Config: path, ConfigNamed: true, Ask: func(ctx context.Context, socket string) (wire.Info, int, error) {
		c := client.Client{Socket: socket}
		defer c.Close()
		info, err := c.Info(ctx)
		return info, 0, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]doctor.Result{}
	for _, r := range doctor.Check(h) {
		t.Logf("%-8s %-14s %s → %s", r.Level, r.Name, r.Text, r.Repair)
		found[r.Name] = r
	}
	return found
}

func failures(found map[string]doctor.Result) (names []string) {
	for name, r := range found {
		if r.Level == doctor.Failure {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// TestDoctor has this host found fit, beside a daemon that runs and without one, and each of its faults found.
func TestDoctor(t *testing.T) {
	cfg := testConfig(t, 1, 1)
	cfg.Runsc.CanaryTimeout = lifetime.Duration(patience / 6) // kvm uses all of it where it hangs
	t.Run("daemon up", func(t *testing.T) {
		d := start(t, cfg)
		awaitPool(t, d.Client)
		before := containers(t, "")
		found := examine(t, cfg)
		if names := failures(found); len(names) > 0 || found["daemon"].Level != doctor.OK || found["platform systrap"].Level != doctor.OK {
			t.Errorf("failures %v, daemon %+v, systrap %+v", names, found["daemon"], found["platform systrap"])
		}
		if after := containers(t, ""); !slices.Equal(before, after) {
			t.Errorf("the daemon's sandboxes were %v, are %v", before, after)
		}
		if left := ctr(t, "namespaces", "ls", "-q"); strings.Contains(left, "-doctor") {
			t.Errorf("a namespace is left in %q", left)
		}
	})
	t.Run("daemon down", func(t *testing.T) {
		if found := examine(t, cfg); len(failures(found)) > 0 || found["daemon"].Level != doctor.Info {
			t.Errorf("failures %v, daemon %+v", failures(found), found["daemon"])
		}
	})
	oldRunsc := filepath.Join(t.TempDir(), "runsc")
	if err := os.WriteFile(oldRunsc, []byte("#!/bin/sh\necho runsc version release-20260202.0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*configs.Config){
		"containerd": func(c *configs.Config) { c.Containerd.Address += ".none" },
		"shim":       func(c *configs.Config) { c.Runsc.Shim = "io.containerd.absent.v1" },
		"init":       func(c *configs.Config) { c.Runsc.Init += ".none" },
		"runsc":      func(c *configs.Config) { c.Runsc.Path = oldRunsc },
	} {
		t.Run("bad "+name, func(t *testing.T) {
			bad := cfg
			spoil(&bad)
			if names := failures(examine(t, bad)); !slices.Contains(names, name) {
				t.Errorf("failures are %v, want %s", names, name)
			}
		})
	}
	t.Run("bad configuration", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(path, []byte("version = 1\nregoin = \"x\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if found := examineFile(t, path); !slices.Contains(failures(found), "configuration") || !strings.Contains(found["configuration"].Text, "regoin") {
			t.Errorf("configuration: %+v", found["configuration"])
		}
	})
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(cfg.Daemon.StateDir), "sandpool-doctor-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// TestDoctorWasKilled kills doctors while they try a platform, also as a lost terminal does. The next one finds this host fit, and
// nothing of theirs is left; of two at once the second leaves the first alone.
func TestDoctorWasKilled(t *testing.T) {
	cfg := testConfig(t, 1, 1)
	cfg.Runsc.CanaryTimeout = lifetime.Duration(patience / 6)
	file := doctorConfig(t, cfg)
	trials := cfg.Containerd.Namespace + "-doctor"
	folder := filepath.Join(filepath.Dir(cfg.Daemon.StateDir), "sandpool-doctor-"+cfg.Containerd.Namespace)
	left := func() string {
		spaces := strings.Fields(ctr(t, "namespaces", "ls", "-q"))
		_, err := os.Stat(folder)
		if slices.Contains(spaces, trials) || !errors.Is(err, fs.ErrNotExist) {
			return fmt.Sprintf("namespaces %v, folder %v", spaces, err)
		}
		return ""
	}
	for i, sig := range []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGKILL} {
		p, err := host.Spawn(fmt.Sprintf("doctor-%d", i), exec.CommandContext(context.WithoutCancel(t.Context()), realCommand(t), "doctor", "--config", file))
		if err != nil {
			t.Fatal(err)
		}
		trial := func() bool { return ctr(t, "--namespace", trials, "containers", "ls", "-q") != "" }
		if await(t, "a trial is under way", trial); sig == unix.SIGKILL {
			await(t, "the doctor stands still in a trial", func() bool {
				_ = p.Signal(unix.SIGCONT)
				return trial() && testhost.Freeze(t.Context(), p.Pid()) == nil && trial()
			})
			if found := examine(t, cfg); !strings.Contains(found["trials"].Text, "another doctor is at work") {
				t.Errorf("beside another doctor: %+v", found["trials"])
			}
		}
		if err := p.Signal(sig); err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		if text := left(); (text != "") != (sig == unix.SIGKILL) {
			t.Errorf("after %s: left is %q", sig, text)
		}
	}
	if found := examine(t, cfg); len(failures(found)) > 0 || found["platform systrap"].Level != doctor.OK {
		t.Errorf("after those: failures %v", failures(found))
	}
	if text := left(); text != "" {
		t.Errorf("in the end: %s", text)
	}
	checkNothingLeft(t)
	if left, err := filepath.Glob("/sys/fs/cgroup/*/" + host.Namespace + "-doctor"); err != nil || len(left) > 0 {
		t.Errorf("left over: %q, %v", left, err)
	}
}

// TestNewerLabels starts a daemon beside a claim that a later version labelled: it must refuse, and touch nothing.
func TestNewerLabels(t *testing.T) {
	cfg := testConfig(t, 1, 1)
	cfg.Daemon.OnStop = configs.OnStopKeep
	d := start(t, cfg)
	c := claim(t, d.Client, wire.ClaimRequest{})
	d.finish(t)
	ctr(t, "containers", "label", c.Sandbox, pool.LabelVersion+"=99")
	tasks := ctr(t, "tasks", "ls")
	why := failToStart(t, cfg)
	for _, part := range []string{c.Sandbox, "labels of version 99", "newer sandpoold"} {
		if !strings.Contains(why, part) {
			t.Errorf("error %q does not say %q", why, part)
		}
	}
	if after := ctr(t, "tasks", "ls"); after != tasks || !strings.Contains(after, c.Sandbox) {
		t.Errorf("tasks were\n%s\nare\n%s", tasks, after)
	}
	// The newer daemon comes back: here, one that wrote what this one reads.
	ctr(t, "containers", "label", c.Sandbox, pool.LabelVersion+"=2")
	cfg.Daemon.OnStop = configs.OnStopRemove
	d = start(t, cfg)
	if got, err := d.Get(t.Context(), c.ID); err != nil || got.Sandbox != c.Sandbox {
		t.Errorf("claim is %+v, %v", got, err)
	}
	checkAlive(t, d.Client, c)
}
