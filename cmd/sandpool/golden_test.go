package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/console"

	"sandpool/daemon/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

// shownCommands are those whose output is kept in the golden files.
var shownCommands = []string{
	"", "ls", "ls -o wide", "ps c1", "pools", "pools set default --hold", "checkpoints", "templates", "templates check broken", "images", "images", "info", "top --once", "events",
	"egress set c1 --allow packages.example.com:443 --allow *.files.example.com:443 --deny upload.example.com", "egress show c1", "egress why c1 a.test", "egress why c1 denied.test", "egress log c1", "run --help", "help exit-codes",
}

// clock finds times of day and dates, which every run has others of, and digit what is another in them.
var (
	clock = regexp.MustCompile(`\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d`)
	digit = regexp.MustCompile(`\d`)
)

// on runs a command line with a terminal of a width as its output, or none if that is 0, and returns what it printed.
func (f *fakeDaemon) on(width int, line string) string {
	args := append([]string{"--socket", f.socket}, strings.Fields(line)...)
	var out bytes.Buffer
	if width == 0 {
		run(f.t.Context(), args, strings.NewReader(""), &out, io.Discard)
		return out.String()
	}
	screen, path, err := console.NewPty()
	if err != nil {
		f.t.Fatal(err)
	}
	defer screen.Close() //nolint:errcheck // all was read
	if err := screen.Resize(console.WinSize{Height: 24, Width: uint16(width)}); err != nil {
		f.t.Fatal(err)
	}
	terminal, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&out, screen) // a terminal that is gone ends it with an error
	}()
	run(f.t.Context(), args, strings.NewReader(""), terminal, io.Discard)
	if err := terminal.Close(); err != nil {
		f.t.Error(err)
	}
	<-read
	return strings.NewReplacer("\r\n", "\n", "\x1b", "^[").Replace(out.String())
}

// TestGolden compares what commands print, on terminals of several widths and without one, with the golden files; -update writes them.
func TestGolden(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	for _, width := range []int{0, 60, 80, 200} {
		f := newFake(t)
		f.claimOne()
		dead := f.claims[f.claimOne()]
		dead.State, dead.Reason, dead.Template = wire.ClaimDead, "the sandbox used more memory than its limit of 512 MiB", "a-template-with-a-long-name"
		warned := f.claims[f.claimOne()]
		warned.Stage = "warned"
		f.claims[dead.ID], f.claims[warned.ID] = dead, warned
		f.sandpool("checkpoint", "c1")
		f.imageEnds = wire.ImageFailed
		var got strings.Builder
		for _, line := range shownCommands {
			out := strings.ReplaceAll(f.on(width, line), f.socket, "SOCKET")
			out = clock.ReplaceAllStringFunc(out, func(at string) string { return digit.ReplaceAllString(at, "0") })
			fmt.Fprintf(&got, "$ sandpool %s\n%s\n", line, out)
		}
		path := filepath.Join("testdata", fmt.Sprintf("width-%d.golden", width))
		if *update {
			if err := os.WriteFile(path, []byte(got.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || got.String() != string(want) {
			t.Errorf("%s: %v, got\n%s", path, err, got.String())
		}
	}
}

// TestNoColor has a terminal whose user wants no colours.
func TestNoColor(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	f := newFake(t)
	f.claimOne()
	if out := f.on(80, "ls"); strings.Contains(out, "^[") || !strings.Contains(out, "c1") {
		t.Errorf("printed %q", out)
	}
}
