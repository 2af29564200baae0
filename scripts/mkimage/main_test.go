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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	busybox := filepath.Join(filepath.Dir(host.Image), "busybox")
	archive := filepath.Join(t.TempDir(), "image.tar")
	if err := run(ctx, busybox, archive); err != nil {
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

func TestNoBusybox(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "image.tar")
	if err := run(t.Context(), filepath.Join(t.TempDir(), "busybox"), archive); err == nil {
		t.Fatal("no error without a program")
	}
	if _, err := os.Stat(archive); !os.IsNotExist(err) {
		t.Fatalf("an archive was left: %v", err)
	}
}
