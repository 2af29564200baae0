package daemontest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestProject does by the command what a new user would: claim a sandbox with a secret, copy a project in, start its tests, follow their log from a
// second terminal when the first was closed and the daemon restarted, and copy the results out.
func TestProject(t *testing.T) {
	program := realCommand(t)
	cfg := testConfig(t, 1, 1)
	file := writeConfig(t, cfg)
	p := spawn(t, realDaemon(t), file, cfg.Daemon.Socket)
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/project", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"token.txt": "s3cret\n",
		"project/run-tests": `#!/bin/sh
echo "$MODE: first"
mkdir results
until [ -e go-on ]; do sleep 0.1; done
echo "second with $TOKEN" | tee results/report
`,
	} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	command := func(args ...string) *exec.Cmd {
		return exec.CommandContext(t.Context(), program, append([]string{"--socket", cfg.Daemon.Socket}, args...)...)
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := command(args...)
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, said.String())
		}
		return strings.TrimSpace(string(out))
	}
	terminal := func(args ...string) (*exec.Cmd, *lockedBuffer) {
		t.Helper()
		cmd, out := command(args...), &lockedBuffer{}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, out
	}

	id := run("claim", "-e", "MODE=test", "--secret", "TOKEN=@"+dir+"/token.txt")
	run("cp", dir+"/project", id+":/")
	pid := run("exec", "-d", "-w", "/project", id, "--", "./run-tests")
	first, shown := terminal("logs", "-f", id, pid)
	await(t, "the first terminal shows the log", func() bool { return shown.String() == "test: first\n" })
	_ = first.Process.Kill()
	_ = first.Wait()
	p.Kill()
	p = spawn(t, realDaemon(t), file, cfg.Daemon.Socket)
	second, shown := terminal("logs", "-f", id, pid)
	await(t, "the second terminal shows the log", func() bool { return shown.String() == "test: first\n" })
	run("exec", id, "--", "touch", "/project/go-on")
	if err := second.Wait(); err != nil || shown.String() != "test: first\nsecond with s3cret\n" {
		t.Errorf("the second terminal ended with %v: %q", err, shown.String())
	}
	run("cp", id+":/project/results", dir)
	if report, err := os.ReadFile(dir + "/results/report"); err != nil || string(report) != "second with s3cret\n" {
		t.Errorf("the results are %q, %v", report, err)
	}
	run("release", id)
	if err := p.Stop(patience); err != nil {
		t.Error(err)
	}
	checkNothingLeft(t)
}
