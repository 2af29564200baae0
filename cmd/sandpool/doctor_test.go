package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sandpool/daemon/doctor"
)

func TestDoctorTellsFailures(t *testing.T) {
	f := newFake(t)
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte("version = 99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := f.sandpool("doctor", "--config", path, "--json")
	var answer struct {
		OK     bool
		Checks []doctor.Result
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != exitError || errOut != "" || answer.OK {
		t.Fatalf("exit %d, %v, stdout %s, stderr %q", code, err, out, errOut)
	}
	if first := answer.Checks[0]; first.Name != "configuration" || first.Level != doctor.Failure || first.Repair != "sandpoold --check-config "+path {
		t.Errorf("first check is %+v", first)
	}
	if code, out, _ := f.sandpool("doctor", "--config", path); code != exitError || !strings.HasPrefix(out, "failure  configuration  ") || !strings.Contains(out, "\n    → sandpoold --check-config "+path+"\n") || !strings.Contains(out, "\n1 failed, ") {
		t.Errorf("exit %d, stdout %s", code, out)
	}
}

// TestDoctorAsksTheSocketOfTheEnvironment has a daemon that is no more at the socket of the configuration.
func TestDoctorAsksTheSocketOfTheEnvironment(t *testing.T) {
	f := newFake(t)
	t.Setenv(socketEnv, f.socket)
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte("version = 1\n[containerd]\naddress = \"/nowhere\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errOut strings.Builder
	run(t.Context(), []string{"doctor", "--config", path}, strings.NewReader(""), &out, &errOut)
	if !strings.Contains(out.String(), "sandpoold v1 answers, pid 7") {
		t.Errorf("stdout %s, stderr %s", &out, &errOut)
	}
}

func TestRuntimeConfig(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "gvisor.toml")
	for _, version := range []string{"2", "3"} {
		_, printed, _ := f.sandpool("runtime", "config", "--version", version, "--runsc-dir", dir)
		if code, _, errOut := f.sandpool("runtime", "config", "--version", version, "--runsc-dir", dir, "--write", path); code != 0 {
			t.Fatal(errOut)
		}
		written, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(written), "version = "+version+"\n") || !strings.HasPrefix(printed, string(written)) {
			t.Errorf("%v, written\n%s\nprinted\n%s", err, written, printed)
		}
		if code, out, errOut := f.sandpool("runtime", "config", "--check", path); code != 0 || out != path+": no fault found\n" {
			t.Errorf("exit %d, %q, %q", code, out, errOut)
		}
	}
	if err := os.Remove(filepath.Join(dir, "runsc-kvm.toml")); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := f.sandpool("runtime", "config", "--check", path); code != exitError || !strings.Contains(errOut, "runtimes.runsc-kvm.options.ConfigPath") {
		t.Errorf("exit %d, %q", code, errOut)
	}
	if code, _, _ := f.sandpool("runtime", "config", "--version", "4"); code != exitError {
		t.Errorf("version 4: exit %d", code)
	}
}
