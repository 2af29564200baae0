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
	inSandbox(ctx, t, images.BusyboxName, "image", script)
}

// inSandbox runs a script in a sandbox of an image and returns its output. The sandbox does not end with the script: gVisor sometimes
// loses the exit code of a sandbox that ends by itself.
func inSandbox(ctx context.Context, t *testing.T, image, id, script string) (output string) {
	t.Helper()
	for _, cmd := range []*exec.Cmd{
		host.Run(ctx, "--detach", image, id, "sleep", "1000000"),
		host.Command(ctx, "tasks", "exec", "--exec-id", "script", id, "sh", "-c", script),
	} {
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v: %s%s", cmd, err, out, &stderr)
		}
		output = string(out)
	}
	if err := host.Remove(ctx, id); err != nil {
		t.Error(err)
	}
	return output
}

// TestPython runs what tests need of their second image.
func TestPython(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := host.Import(ctx, host.Python); err != nil {
		t.Fatal(err)
	}
	script := `set -e; python3 -c 'import random, secrets, uuid, json, hashlib, threading; print(hashlib.sha256(b"").hexdigest()[:8], uuid.uuid4().version)'; uuidgen | wc -c`
	if out, want := inSandbox(ctx, t, "sandpool.local/python:1", "python", script), "e3b0c442 4\n37\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
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
