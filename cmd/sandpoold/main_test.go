package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sandpool/configs"
)

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	sample, broken, missing := filepath.Join(dir, "sample.toml"), filepath.Join(dir, "broken.toml"), filepath.Join(dir, "missing.toml")
	write(t, sample, configs.Sample)
	write(t, broken, "version = 1\nregio = \"x\"\n[limits]\nstarts = -1\n[daemon]\nsocket = \"relative\"\n")
	for name, tc := range map[string]struct {
		args []string
		out  string   // a part of standard output
		errs []string // parts of the error; none: there is no error
	}{
		"version":               {[]string{"--version"}, "sandpoold devel", nil},
		"help":                  {[]string{"--help"}, "", nil},
		"sound file":            {[]string{"--check-config", "--config", sample}, sample + ": no fault found", nil},
		"sound file, short":     {[]string{"--check-config", sample}, sample + ": no fault found", nil},
		"every fault":           {[]string{"--check-config", broken}, "", []string{broken + ":2:", "regio", broken + ":4:", "limits.starts", broken + ":6:", "daemon.socket"}},
		"start on broken file":  {[]string{"--config", broken}, "", []string{broken + ":2:", "limits.starts"}},
		"named file is missing": {[]string{"--config", missing}, "", []string{missing, "no such file"}},
		"check of missing file": {[]string{"--check-config", missing}, "", []string{missing, "no such file"}},
		"unknown flag":          {[]string{"--no-such"}, "", []string{"no-such"}},
		"argument":              {[]string{"serve"}, "", []string{`unexpected argument "serve"`, "--help"}},
		"two files":             {[]string{"--check-config", "--config", sample, broken}, "", []string{"unexpected argument"}},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			err := run(tc.args, &stdout, &stderr)
			if (err == nil) != (tc.errs == nil) || !strings.Contains(stdout.String(), tc.out) {
				t.Errorf("error %v, output %q", err, stdout.String())
			}
			for _, part := range tc.errs {
				if err != nil && !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not tell %q", err, part)
				}
			}
		})
	}
}

func TestDefaultFileMayBeMissing(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.toml")
	cfg, absent, err := options{config: missing}.load()
	if err != nil || !absent || cfg.Daemon.Socket != configs.Default().Daemon.Socket {
		t.Errorf("load of a default file that is missing: %+v, %t, %v", cfg, absent, err)
	}
	if _, _, err := (options{config: missing, named: true}).load(); err == nil {
		t.Error("a named file that is missing is no error")
	}
}

func TestLogger(t *testing.T) {
	for format, want := range map[string]string{"text": `level=INFO msg=hello`, "json": `"msg":"hello"`} {
		var out strings.Builder
		cfg := configs.Default().Daemon
		cfg.LogFormat = format
		log := newLogger(cfg, &out)
		log.Debug("too quiet")
		log.Info("hello")
		if got := out.String(); !strings.Contains(got, want) || strings.Contains(got, "quiet") {
			t.Errorf("%s: %q", format, got)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
