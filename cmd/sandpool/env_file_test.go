package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sandpool/cmd/sandpool/environ"
	"sandpool/daemon/wire"
)

func envFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestExecEnvironment gives a command variables whose values are in no argument of this command.
func TestExecEnvironment(t *testing.T) {
	t.Setenv("FROM_HERE", "a=b c")
	f := newFake(t)
	id := f.claimOne()
	var got []string
	f.exec = func(conn net.Conn, _ io.Reader, req wire.ExecRequest) {
		got = req.Env
		f.frame(conn, wire.FrameExit, 0, 0, 0, 0)
	}
	file := envFile(t, "\ufeff# secrets\n\n  TOKEN=x y=\"z\" # no comment\r\nTWICE=1\n\t#TWICE=2\nFROM_HERE\nEMPTY=")
	args := []string{"exec", "--env-file", file, "-e", "TWICE=3", "-e", "FROM_HERE", id, "--", "true"}
	if code, _, errOut := f.sandpool(args...); code != 0 {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	want := []string{`TOKEN=x y="z" # no comment`, "EMPTY=", "TWICE=3", "FROM_HERE=a=b c"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("environment is %q, want %q", got, want)
	}
}

func TestBadEnvironment(t *testing.T) {
	for name, tc := range map[string]struct {
		file, flag, want string
	}{
		"not set":       {"", "NOT_SET_ANYWHERE", `--env: "NOT_SET_ANYWHERE" is not set here`},
		"no name":       {"", "=secret", "want KEY=VALUE"},
		"not set, file": {"A=1\nNOT_SET_ANYWHERE\n", "", `:2: "NOT_SET_ANYWHERE" is not set here`},
		"space":         {"export A=secret\n", "", ":1: want KEY=VALUE"},
		"NUL":           {"A=sec\x00ret\n", "", `:1: the value of "A" is not UTF-8`},
		"not UTF-8":     {"A=secret\xff\n", "", `:1: the value of "A" is not UTF-8`},
		"long line":     {"A=" + strings.Repeat("x", wire.MaxArgument), "", "has a line over the limit"},
		"long file":     {strings.Repeat("A=secret\n", wire.MaxCommand/9+1), "", "is over the limit of"},
	} {
		t.Run(name, func(t *testing.T) {
			var files, flags []string
			if tc.file != "" {
				files = []string{envFile(t, tc.file)}
			}
			if tc.flag != "" {
				flags = []string{tc.flag}
			}
			_, err := environ.Read(files, flags)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v, want %q and no value", err, tc.want)
			}
		})
	}
	if _, err := environ.Read([]string{t.TempDir()}, nil); err == nil {
		t.Error("a folder was read")
	}
	if _, err := environ.Read([]string{"/nowhere/at/all"}, nil); err == nil || !strings.Contains(err.Error(), "--env-file") {
		t.Errorf("a file that is missing: %v", err)
	}
}

// TestCompleteEnv offers names and no values.
func TestCompleteEnv(t *testing.T) {
	t.Setenv("FROM_HERE", "secret")
	_, out, _ := newFake(t).sandpool("__complete", "exec", "--env", "FROM_")
	if lines := strings.Split(out, "\n"); !slices.Contains(lines, "FROM_HERE") || strings.Contains(out, "secret") {
		t.Errorf("completions are %q", out)
	}
}
