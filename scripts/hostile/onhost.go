package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sandpool/daemon/wire"
	"sandpool/scripts/testhost"
)

// hostAttacks are made by the attacker on the host, beside the socket.
var hostAttacks = []attack{
	{"the daemon's files, as a user of the host", daemonFiles},
	{"sockets of containerd and of sandboxes, as a user of the host", hostSockets},
	{"the daemon's processes, as a user of the host", daemonProcesses},
	{"secrets of another's exec in the process list", secretsOfExec},
	{"a set-uid program by a writable bind", setuidByBind},
	{"a state folder that another user made", takenFolder("state", func(s *settings, dir string) { s.state = dir })},
	{"a checkpoint folder that another user made", takenFolder("checkpoints", func(s *settings, dir string) { s.checkpoints = dir })},
	{"configuration files that are no files", oddConfigs},
}

// daemonFiles looks for what the attacker may read or change in the folders of the host, of the daemon and of containerd.
func daemonFiles(ctx context.Context, t *trial) error {
	out, err := t.attacker.output(ctx, `for d; do
find "$d" -maxdepth 6 \( -type f -o -type p \) -readable ! -name sandpool 2>/dev/null | sed 's/^/readable /'
find "$d" -maxdepth 6 ! -type l ! -type s -writable 2>/dev/null | sed 's/^/writable /'
cat "$d/events" "$d"/*/manifest.json "$d"/*/pages.img 2>/dev/null
done
for f in "$1.sock" "$1.toml"; do rm -f "$f"; mv "$f" "$f.old"; chmod 777 "$f"; ln -s /tmp "$f.new"; done 2>/dev/null
echo searched`, filepath.Join(t.host.Dir, "main"), filepath.Join(t.host.Dir, "main-checkpoints"), t.host.Dir+"/root", t.host.Dir+"/state")
	if err != nil {
		return err
	}
	if !strings.HasSuffix(out, "searched\n") {
		return fmt.Errorf("the folders were not searched: %s", clip(out))
	}
	t.tried()
	t.tells(out, "the daemon's folders")
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "writable ") || strings.HasPrefix(line, "readable ") {
			t.through("the attacker has %s", strings.TrimSpace(line))
		}
	}
	if _, err := os.Stat(t.attacker.socket); err != nil {
		t.through("the socket is gone: %v", err)
	}
	return nil
}

// hostSockets connects as the attacker to every socket of the host's that is not the daemon's own.
func hostSockets(ctx context.Context, t *trial) error {
	table, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) < 8 {
			continue
		}
		path := fields[7]
		if path == t.attacker.socket || !strings.Contains(path, t.host.Dir) && !strings.Contains(path, "sb-") && !strings.Contains(path, "runsc") && !strings.Contains(path, t.host.Namespace) {
			continue
		}
		other := newUser(attackerUID, t.host.Dir, path)
		conn, err := other.dial(ctx)
		t.tried()
		if err == nil {
			_ = conn.Close()
			t.through("the attacker may connect to %s", path)
		}
	}
	return nil
}

func daemonProcesses(ctx context.Context, t *trial) error {
	out, err := t.attacker.output(ctx, `for p; do
kill -0 $p 2>/dev/null && echo "GOT signal to $p"
for f in mem environ maps stack; do head -c 1 /proc/$p/$f 2>/dev/null | grep -q . && echo "GOT $f of $p"; done
ls /proc/$p/fd /proc/$p/cwd/ /proc/$p/root/ 2>/dev/null | sed "s/^/GOT $p /"
done; echo looked`, fmt.Sprint(t.daemon.Pid()), fmt.Sprint(t.host.Pid()))
	if err != nil {
		return err
	}
	if !strings.HasSuffix(out, "looked\n") {
		return fmt.Errorf("nobody looked: %s", clip(out))
	}
	t.tried()
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "GOT ") {
			t.through("%s", strings.TrimSpace(line))
		}
	}
	return nil
}

// secretsOfExec has the victim give a command a secret in the ways that the command has for secrets, while the attacker looks at all
// processes of the host.
func secretsOfExec(ctx context.Context, t *trial) error {
	const secret = "token-of-the-victim"
	file := filepath.Join(t.host.Dir, "victim.env")
	if err := os.WriteFile(file, []byte("TOKEN="+secret+"\n"), 0o600); err != nil {
		return err
	}
	if err := os.Chown(file, victimUID, victimUID); err != nil {
		return err
	}
	for _, form := range [][]string{{"--env", "TOKEN"}, {"--env-file", file}} {
		ctx, cancel := context.WithTimeout(ctx, patience)
		args := append(append([]string{"--socket", t.victim.socket, "exec", "--no-stdin"}, form...), t.claim.ID, "--", "sh", "-c", `echo "has $TOKEN"; exec sleep 1000`)
		cmd := t.victim.command(ctx, filepath.Join(t.host.Dir, "sandpool"), args...)
		cmd.Env = []string{"TOKEN=" + secret}
		var out testhost.Log
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Start()
		if err == nil {
			err = t.lookFor(ctx, cmd, &out, secret, form)
		}
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// lookFor looks for a secret in the process list once a command has it.
func (t *trial) lookFor(ctx context.Context, cmd *exec.Cmd, out *testhost.Log, secret string, form []string) error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	var early error
	if err := testhost.Poll(ctx, 20*time.Millisecond, func() bool {
		select {
		case early = <-ended:
			return true
		default:
			return strings.Contains(out.String(), "has ")
		}
	}); err != nil {
		return fmt.Errorf("wait for the victim's command: %w", err)
	}
	t.tried()
	if early != nil || !strings.Contains(out.String(), "has "+secret) {
		t.through("a secret cannot be given by %s: %s, %v", form[0], clip(out.String()), early)
		return nil
	}
	seen, err := t.attacker.output(ctx, `grep -alF "$1$2" /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null`, secret[:4], secret[4:])
	if seen != "" {
		t.through("with %s the attacker sees the secret in %s", form[0], strings.Join(strings.Fields(seen), ", "))
	}
	return err
}

// setuidByBind starts a daemon whose sandboxes may write to a folder that the attacker reaches. It may refuse that folder.
func setuidByBind(ctx context.Context, t *trial) error {
	dir := filepath.Join(t.host.Dir, "writable")
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // the attacker is to reach it
		return err
	}
	s := t.settings("bind")
	s.more = template("default", "file://"+t.host.Image, fmt.Sprintf("[[templates.default.mounts]]\nsource = %q\ntarget = \"/mnt/rw\"\nread_only = false\n", dir)) + pool("default", 1, 2)
	return t.side(ctx, s, dir, func(attacker *user) error {
		own, err := attacker.claim(ctx, `{"wait":"50s"}`)
		if err != nil {
			return t.refusedTemplate(ctx, newUser(0, t.host.Dir, s.socket()), dir, err)
		}
		if err := writeProgram(ctx, attacker, own.ID); err != nil {
			return err
		}
		t.tried()
		if a, err := attacker.do(ctx, "DELETE", "/v1/claims/"+own.ID, ""); err != nil || a.status >= 300 {
			return fmt.Errorf("release: %s, %w", a, err) // the sandbox keeps the file open for writing
		}
		out, err := t.attacker.output(ctx, `ls -l "$1"; "$1" -u`, filepath.Join(dir, "id"))
		if strings.HasSuffix(out, "\n0\n") {
			t.through("the program of the attacker's sandbox is root on the host: %s", clip(out))
		}
		return err
	})
}

// writeProgram writes the host's id, which says whose it became, through a sandbox, as a program that is run as its owner.
func writeProgram(ctx context.Context, attacker *user, claim string) error {
	path, err := exec.LookPath("id")
	if err != nil {
		return err
	}
	program, err := os.Open(path)
	if err != nil {
		return err
	}
	defer program.Close() //nolint:errcheck // it was only read
	cmd := attacker.command(ctx, filepath.Join(attacker.host, "sandpool"), "--socket", attacker.socket, "exec", claim, "--", "sh", "-c", "cat >/mnt/rw/id; chmod 4755 /mnt/rw/id; ls -l /mnt/rw")
	cmd.Stdin = program
	if out, err := cmd.CombinedOutput(); err != nil && !strings.Contains(string(out), "denied") {
		return fmt.Errorf("write the program: %s, %w", clip(string(out)), err)
	}
	return nil
}

// refusedTemplate counts an attempt that ended with a template that names the folder as its fault.
func (t *trial) refusedTemplate(ctx context.Context, root *user, dir string, claimErr error) error {
	var list wire.TemplateList
	if err := root.get(ctx, "/v1/templates", &list); err != nil {
		return errors.Join(claimErr, err)
	}
	for _, template := range list.Templates {
		if strings.Contains(template.Reason, dir) {
			t.tried()
			return nil
		}
	}
	return claimErr
}

// side starts another daemon for an attack and stops it afterwards. One that does not start must say that it is for the folder's sake:
// then the attack has been refused.
func (t *trial) side(ctx context.Context, s settings, folder string, attack func(attacker *user) error) error {
	p, err := t.startDaemon(ctx, s)
	if p == nil {
		return err
	}
	if err != nil {
		select {
		case <-p.Done():
			if log, _ := os.ReadFile(p.Log); strings.Contains(string(log), folder) {
				t.tried()
				return nil
			}
		default:
		}
		return err
	}
	err = attack(newUser(attackerUID, t.host.Dir, s.socket()))
	return errors.Join(err, p.Stop(patience))
}

// takenFolder has the attacker make one of the daemon's folders, in a place where all may make folders, before the daemon does.
func takenFolder(name string, set func(s *settings, dir string)) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		public := filepath.Join(t.host.Dir, "public-"+name)
		if err := os.Mkdir(public, 0o700); err != nil {
			return err
		}
		if err := os.Chmod(public, os.ModeSticky|0o777); err != nil { // as /tmp
			return err
		}
		dir := filepath.Join(public, "made")
		if out, err := t.attacker.output(ctx, `umask 0; mkdir -m 0777 "$1" && echo made`, dir); err != nil || out != "made\n" {
			return fmt.Errorf("make the folder: %s, %w", clip(out), err)
		}
		s := t.settings("taken-" + name)
		set(&s, dir)
		s.more = template("default", "file://"+t.host.Image, "") + pool("default", 0, 2)
		return t.side(ctx, s, public, func(*user) error {
			t.tried()
			t.through("the daemon took the folder %s of the attacker's", name)
			return nil
		})
	}
}

// oddConfigs has the daemon check files that are no configuration: it must end, with an error and without much memory.
func oddConfigs(ctx context.Context, t *trial) error {
	fifo, large := filepath.Join(t.host.Dir, "fifo.toml"), filepath.Join(t.host.Dir, "large.toml")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(large, 512<<20); err != nil {
		return err
	}
	for _, path := range []string{fifo, large, t.host.Dir, os.DevNull} {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		// The limit is on what is written to, in KiB, so that a daemon that reads all of a file ends itself.
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `ulimit -d 400000 && exec "$0" --check-config "$1"`, t.program, path)
		out, err := cmd.CombinedOutput()
		switch {
		case context.Cause(ctx) != nil:
			t.through("checking %s did not end", filepath.Base(path))
		case err == nil && path != os.DevNull:
			t.through("%s is a good configuration: %s", filepath.Base(path), clip(string(out)))
		case cmd.ProcessState.ExitCode() > 1: // Go ends so in several ways
			t.through("checking %s takes more than 400 MB: %s", filepath.Base(path), clip(string(out)))
		}
		cancel()
		t.tried()
	}
	return nil
}
