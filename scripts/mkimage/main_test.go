package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sandpool/images"
	"sandpool/scripts/testhost"
)

var host *testhost.Host

func TestMain(m *testing.M) {
	os.Exit(testhost.Main(m, testhost.Options{Namespace: "sandpool-mkimage"}, &host))
}

// TestImage makes the image as `make image` does, brings it into containerd and runs it.
func TestImage(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	busybox := filepath.Join(filepath.Dir(host.Image), "busybox")
	archive := filepath.Join(t.TempDir(), "image.tar")
	if err := run(ctx, busybox, "", images.BusyboxName, archive); err != nil {
		t.Fatal(err)
	}
	built, err := os.ReadFile(host.Image)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(archive); err != nil || !bytes.Equal(built, again) {
		t.Errorf("two builds from one program differ: %v", err)
	}
	if err := host.Import(ctx, archive); err != nil {
		t.Fatal(err)
	}
	// Every applet that the image links to must be one that the program has.
	script := `set -e; . /etc/os-release; [ "$ID" = sandpool-busybox ]; [ "$(id -u sandbox)" = 1000 ]; touch /tmp/file; ` +
		`for f in /bin/* /sbin/* /usr/bin/* /usr/sbin/*; do [ -x "$f" ]; done`
	for _, cmd := range []*exec.Cmd{
		host.Run(ctx, "--detach", images.BusyboxName, "image", "sleep", "1000000"),
		host.Command(ctx, "tasks", "exec", "--exec-id", "script", "image", "sh", "-c", script),
	} {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", cmd, err, out)
		}
	}
	if err := host.Remove(ctx, "image"); err != nil {
		t.Error(err)
	}
}

// TestPython runs what tests need of their second image.
func TestPython(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := host.Import(ctx, host.Python); err != nil {
		t.Fatal(err)
	}
	script := `set -e; python3 -c 'import random, secrets, uuid, json, hashlib, threading; print(hashlib.sha256(b"").hexdigest()[:8], uuid.uuid4().version)'; uuidgen | wc -c`
	out, err := host.Run(ctx, "--rm", "sandpool.local/python:1", "python", "sh", "-c", script).Output()
	if want := "e3b0c442 4\n37\n"; err != nil || string(out) != want {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
}

func TestNoBusybox(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "image.tar")
	if err := run(t.Context(), filepath.Join(t.TempDir(), "busybox"), "", images.BusyboxName, archive); err == nil {
		t.Fatal("no error without a program")
	}
	if _, err := os.Stat(archive); !os.IsNotExist(err) {
		t.Fatalf("an archive was left: %v", err)
	}
}
