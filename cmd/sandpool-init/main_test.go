package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sandpool/scripts/testhost"
)

var host *testhost.Host

// program is the static binary under test, built as the Makefile builds it.
var program string

func TestMain(m *testing.M) {
	testhost.ClearEnv()
	dir, err := os.MkdirTemp("", "sandpool-init-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // users other than root run the program too
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "sandpool-init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	code := 1
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build sandpool-init: %v: %s\n", err, out)
	} else {
		code = testhost.Main(m, testhost.Options{Namespace: "sandpool-init"}, &host)
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func TestReady(t *testing.T) {
	if out, err := exec.CommandContext(t.Context(), program, "ready").CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("ready: %v: %q", err, out)
	}
}

func TestRefusals(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown word":       {"steady"},
		"no command":         {"--"},
		"no dashes":          {"ready", "now"},
		"nothing to exec":    {"exec", "--"},
		"exec no dashes":     {"exec", "true"},
		"await nothing":      {"await"},
		"begin otherwise":    {"begin", "online"},
		"connect nowhere":    {"connect"},
		"connect to 0":       {"connect", "0"},
		"tell more":          {"tell", "more"},
		"restored nothing":   {"restored"},
		"restored a path":    {"restored", "../x"},
		"spawn nothing":      {"spawn", "--"},
		"spawn no dashes":    {"spawn", "true"},
		"spawn log":          {"spawn", "--log", "--", "true"},
		"file nothing":       {"file"},
		"file unquoted":      {"file", "stat", "path=/"},
		"idle not process 1": {},
		"not process 1":      {"--", "true"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
			if code := exitOf(err); code != exitUsage || len(out) == 0 {
				t.Errorf("exit code %d, output %q; want %d and a reason", code, out, exitUsage)
			}
		})
	}
}

// TestImports keeps the init small: it is the first thing to run in every sandbox.
func TestImports(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{else}}std {{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	ours := func(name string) bool {
		return strings.HasPrefix(name, "sandpool/cmd/sandpool-init") || name == "sandpool/runtime/supervisor/protocol" || name == "sandpool/runtime/door" || name == "golang.org/x/net/dns/dnsmessage" || name == "sandpool/runtime/tail" || name == "sandpool/runtime/ulimit" || name == "golang.org/x/sys/unix"
	}
	for line := range strings.Lines(string(out)) {
		name, std := strings.CutPrefix(strings.TrimSpace(line), "std ")
		switch top, _, _ := strings.Cut(name, "/"); {
		case !std && !ours(name):
			t.Errorf("imports %s: only the standard library, x/sys/unix, dnsmessage, the protocols, tail and ulimit may be", name)
		case std && (top == "net" && name != "net" && name != "net/netip" || top == "crypto" || top == "encoding" && name != "encoding/binary" || top == "regexp" || top == "log"):
			t.Errorf("imports %s: too heavy", name)
		}
	}
}

func TestStaticAndSmall(t *testing.T) {
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	if limit := int64(3 << 20); info.Size() > limit {
		t.Errorf("%d bytes: the limit is %d", info.Size(), limit)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "/ld-linux") {
		t.Error("it asks for a dynamic linker")
	}
	for _, heavy := range []string{"net.(*sysDialer)", "net.(*Resolver)", "net.(*TCPConn)"} { // its types weigh little
		if strings.Contains(string(data), heavy) {
			t.Errorf("it has %s of package net", heavy)
		}
	}
}
