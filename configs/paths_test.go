package configs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPathsOfOthers names one folder that anybody may write to under each key in turn.
func TestPathsOfOthers(t *testing.T) {
	top := t.TempDir()
	open := filepath.Join(top, "open")
	program := filepath.Join(open, "x")
	if err := errors.Join(os.Mkdir(open, 0o700), os.WriteFile(program, nil, 0o700), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	const mount = "[templates.a]\nimage = 'x'\n[[templates.a.mounts]]\ntarget = '/x'\nsource = %q"
	for text, key := range map[string]string{
		"[daemon]\nsocket = %q":                     "daemon.socket",
		"[daemon]\nstate_dir = %q":                  "daemon.state_dir",
		"[containerd]\naddress = %q":                "containerd.address",
		"[runsc]\npath = %q":                        "runsc.path",
		"[runsc]\nshim = %q":                        "runsc.shim",
		"[runsc]\ninit = %q":                        "runsc.init",
		"[checkpoints]\ndir = %q":                   "checkpoints.dir",
		"[images]\nhosts_dir = %q":                  "images.hosts_dir",
		"[images]\ndocker_config = %q":              "images.docker_config",
		"[[hooks]]\nevents = ['*']\ncommand = [%q]": "hooks[0].command",
		"[templates.a]\nimage = \"file://%s\"":      "templates.a.image",
		mount:                                       "templates.a.mounts[0].source",
		strings.Replace(mount, "source", "read_only = false\nsource", 1): "templates.a.mounts[0].source",
	} {
		file := filepath.Join(top, "c.toml")
		write(t, file, strings.NewReplacer("%q", strconv.Quote(program), "%s", program).Replace(text))
		_, err := Load(file)
		want := fmt.Sprintf("%s:%d: %s: %q: %s can be written by others (mode 0777)", file, strings.Count(text, "\n")+1, key, program, open)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "chmod go-w "+open) {
			t.Errorf("%s: %v, want %s", key, err, want)
		}
	}
	file := filepath.Join(open, "c.toml")
	write(t, file, "[daemon]\nlog_level = 'x'")
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), open+" can be written") || !strings.Contains(err.Error(), "daemon.log_level") {
		t.Errorf("the file itself: %v", err)
	}
	if _, _, err := LoadOrDefault(filepath.Join(open, "missing")); err == nil || !strings.Contains(err.Error(), open+" can be written") {
		t.Errorf("a missing file that anybody could make: %v", err)
	}
	t.Setenv("DOCKER_CONFIG", open)
	if err := Default().CheckPaths(); err == nil || !strings.Contains(err.Error(), "images.docker_config") {
		t.Errorf("Docker's folder: %v", err)
	}
}

// TestFilesThatAreTooMuch bounds each by a guard that only a hang reaches.
func TestFilesThatAreTooMuch(t *testing.T) {
	dir := t.TempDir()
	fifo, huge := filepath.Join(dir, "fifo"), filepath.Join(dir, "huge")
	write(t, huge, "")
	if err := errors.Join(unix.Mkfifo(fifo, 0o600), os.Truncate(huge, 1<<30)); err != nil {
		t.Fatal(err)
	}
	var many, few, faulty strings.Builder
	for i := 0; many.Len() < 1_000_000; i++ {
		fmt.Fprintf(&many, "[templates.%x]\nimage='x'\n", i)
		if i < maxKeys/4 {
			fmt.Fprintf(&few, "[templates.%x]\nimage='x'\n", i)
			fmt.Fprintf(&faulty, "[templates.T%x]\n", i)
		}
	}
	const deep = "nested deeper than 32 levels"
	for name, file := range map[string]struct{ text, want string }{
		"fifo":    {"", "not a regular file: name one"},
		"huge":    {"", "larger than the 1024 KiB that are read"},
		"many":    {many.String(), "more than 10000 keys and tables"},
		"few":     {few.String(), ""},
		"faulty":  {faulty.String(), "more faults are not shown"},
		"deep":    {"x=" + strings.Repeat("[", 1_000_000), ":1: " + deep},
		"braces":  {"x=" + strings.Repeat("{x=", 300_000), deep},
		"dots":    {"\nx" + strings.Repeat(".x", 500_000) + "=1", ":2: " + deep},
		"table":   {"[x" + strings.Repeat(".x", 500_000) + "]", deep},
		"tables":  {strings.Repeat("[[hooks]]\n", 100_000), "more than 10000 keys"},
		"keys":    {strings.Repeat("a=1\n", 250_000), ":2:1: key a is already defined"},
		"text":    {`x="` + strings.Repeat(`\"[`, 300_000), ":1:"},
		"hidden":  {"# " + strings.Repeat("[.", 99) + "\nx = ['" + strings.Repeat("[.", 99) + "', \"\\\"" + strings.Repeat("{.", 99) + "\"]", ":2: x: unknown key"},
		"longer":  {`x = """` + strings.Repeat("\n[[", 40) + `\""" """` + "\ny = '''" + strings.Repeat("[", 40) + `\'''`, ":42: y: unknown key"},
		"unended": {`x = """` + strings.Repeat("[", 400_000), ":1:"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			if file.text != "" {
				write(t, path, file.text)
			}
			loaded := make(chan error, 1)
			go func() {
				_, err := Load(path)
				loaded <- err
			}()
			select {
			case err := <-loaded:
				if (err == nil) != (file.want == "") || err != nil && !strings.Contains(err.Error(), file.want) {
					t.Errorf("%.300v, want %q", err, file.want)
				}
			case <-time.After(time.Minute):
				t.Error("no answer")
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
