package main

import (
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// inPrivate runs a shell script, in which $init is the program, as root of namespaces of its own: process 1 on a root file system
// of the test's own, with an empty /run and /etc.
func inPrivate(t *testing.T, script string) (code int, stdout, stderr string) {
	t.Helper()
	const prepare = `set -e; mount --make-rprivate /; mount -t tmpfs -o mode=755 tmpfs /mnt; cd /mnt; mkdir etc run proc
for d in bin sbin lib lib64 usr dev tmp; do if [ -e /$d ]; then mkdir $d; mount --rbind /$d $d; fi; done
mount -t proc proc proc; hostname before; exec chroot . sh -c "$1" "$0"`
	cmd := exec.CommandContext(deadline(t), "sh", "-c", prepare, program, "set -e; init=$0\n"+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET}
	s := startSandbox(t, cmd)
	code, stdout = s.end()
	return code, stdout, s.stderr.String()
}

func TestTell(t *testing.T) {
	code, out, stderr := inPrivate(t, `echo '{"n":1}' | $init tell; umask 077; printf '{"n":2}' | $init tell
cat /run/sandpool/events; stat -c %a:%u /run/sandpool /run/sandpool/events`)
	if want := "{\"n\":1}\n{\"n\":2}\n755:0\n644:0\n"; code != 0 || out != want {
		t.Errorf("exit code %d, %q, want %q: %s", code, out, want, stderr)
	}
}

func TestTellDropsTheOldest(t *testing.T) {
	code, out, stderr := inPrivate(t, `echo first | $init tell
i=10000; while [ $i -lt 10656 ]; do echo "$i 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 012345"; i=$((i+1)); done >/run/sandpool/events
stat -c %s /run/sandpool/events >&2; echo last | $init tell; cat /run/sandpool/events`)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || strings.TrimSpace(stderr) != "66256" || len(out) > maxEvents/2 || len(out) < maxEvents/2-200 || lines[len(lines)-1] != "last" {
		t.Fatalf("exit code %d, %d bytes of %s, want at most %d and the last event", code, len(out), stderr, maxEvents/2)
	}
	for i, line := range lines[:len(lines)-1] {
		if len(line) != 100 || !strings.HasPrefix(line, "10") {
			t.Errorf("line %d is torn: %q", i, line)
		}
	}
	if strings.HasPrefix(lines[0], "10000 ") {
		t.Error("the oldest are still there")
	}
}

// fullPipe has a pipe in the place of the events that takes no more.
const fullPipe = `mkdir /run/sandpool; mkfifo /run/sandpool/events; exec 9<>/run/sandpool/events
dd if=/dev/zero of=/run/sandpool/events bs=4096 oflag=nonblock 2>/dev/null || :
`

func TestTellRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		code   int
	}{
		"nothing":        {`$init tell </dev/null`, exitUsage},
		"empty line":     {`echo | $init tell`, exitUsage},
		"two lines":      {`printf 'a\nb\n' | $init tell`, exitUsage},
		"a long line":    {`head -c 4096 /dev/zero | $init tell`, exitUsage},
		"a link":         {`mkdir /run/other; ln -s /run/other /run/sandpool; echo x | $init tell`, exitFailure},
		"a user's":       {`mkdir /run/sandpool; chown 1000 /run/sandpool; echo x | $init tell`, exitFailure},
		"open to a user": {`mkdir /run/sandpool; chmod 775 /run/sandpool; echo x | $init tell`, exitFailure},
		"a file":         {`echo >/run/sandpool; echo x | $init tell`, exitFailure},
		"a linked file":  {`mkdir /run/sandpool; ln -s /etc/other /run/sandpool/events; echo x | $init tell`, exitFailure},
		"a read pipe":    {`mkdir /run/sandpool; mkfifo /run/sandpool/events; exec 9<>/run/sandpool/events; echo x | $init tell`, exitFailure},
		"a full pipe":    {fullPipe + `echo x | timeout 60 $init tell`, exitFailure},
		"a device":       {`mkdir /run/sandpool; mknod /run/sandpool/events c 1 3; echo x | $init tell`, exitFailure},
		"a piped lock":   {`mkdir /run/sandpool; mkfifo /run/sandpool/.lock; echo x | timeout 60 $init tell`, exitFailure},
		"a held lock":    {`mkdir /run/sandpool; flock /run/sandpool/.lock sh -c "echo x | timeout 60 $init tell"`, exitFailure},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := inPrivate(t, `trap 'code=$?; find /run -name events; exit $code' EXIT; `+test.script)
			if code != test.code || !strings.Contains(stderr, "sandpool-init: ") {
				t.Errorf("exit code %d, want %d: %s", code, test.code, stderr)
			}
		})
	}
	if code, out, _ := inPrivate(t, `mkdir /run/other; ln -s /run/other /run/sandpool; echo x | $init tell || ls -A /run/other`); code != 0 || out != "" {
		t.Errorf("exit code %d; through the link were written: %q", code, out)
	}
}

// hooks are two that succeed, the second of which leaves a process behind, one that fails and one that is not executable.
const hooks = `mkdir -p /etc/sandpool/restored.d; cd /etc/sandpool/restored.d
printf '#!/bin/sh\necho hook 20 in $(hostname) >&2; sleep 1000000 &' >20-last
printf '#!/bin/sh\necho hook 10; exit 3' >10-fails
printf '#!/bin/sh\necho hook 05' >05-first
chmod +x *
printf '#!/bin/sh\necho hook 15' >15-plain
`

func TestRestored(t *testing.T) {
	code, out, stderr := inPrivate(t, hooks+`echo before >/etc/hostname; echo 0123 >/etc/machine-id; chmod 444 /etc/machine-id
$init restored after-1; hostname; cat /etc/hostname /etc/machine-id /run/sandpool/restored`)
	want := regexp.MustCompile(`^after-1\nafter-1\n[0-9a-f]{32}\n\{"time":"20\d\d-\d\d-\d\dT[^"]*Z","id":"after-1"\}\n$`)
	if code != 0 || !want.MatchString(out) {
		t.Errorf("exit code %d, %q, want %s", code, out, want)
	}
	if want := "hook 05\nhook 10\nsandpool-init: hook /etc/sandpool/restored.d/10-fails: exit status 3\nhook 20 in after-1\n"; stderr != want {
		t.Errorf("hooks said %q, want %q", stderr, want)
	}
}

func TestRestoredMakesAMachineID(t *testing.T) {
	code, out, stderr := inPrivate(t, `$init restored one; cat /etc/machine-id; $init restored one; cat /etc/machine-id; ls /etc`)
	ids := strings.Fields(out)
	if code != 0 || len(ids) != 5 || len(ids[0]) != 32 || ids[0] == ids[1] || strings.Join(ids[2:], " ") != "hostname hosts machine-id" {
		t.Errorf("exit code %d, %q, want two different ids, and no file but the names': %s", code, out, stderr)
	}
}

// TestRestoredWaitsForNoPipe has one in the place of each file that is read or written, and as what a write begins with.
func TestRestoredWaitsForNoPipe(t *testing.T) {
	code, out, stderr := inPrivate(t, fullPipe+`for name in hosts hostname machine-id; do mkfifo /etc/$name /etc/.sandpool-$name; done
for name in restored restored.new .sandpool-restored; do mkfifo /run/sandpool/$name; done
mkdir -p /etc/sandpool; mkfifo /etc/sandpool/restored.d
timeout 60 $init restored after; cd /etc; stat -c %F hosts hostname machine-id /run/sandpool/restored; cat hostname; test -e /run/sandpool/events || echo no events`)
	if want := strings.Repeat("regular file\n", 4) + "after\nno events\n"; code != 0 || out != want {
		t.Errorf("exit code %d, %q, want %q: %s", code, out, want, stderr)
	}
}

func TestRestoredWhatItCan(t *testing.T) {
	code, out, stderr := inPrivate(t, hooks+`mount --bind /etc /etc; mount -o remount,bind,ro /etc; $init restored after || { code=$?; hostname; cat /run/sandpool/restored; exit $code; }`)
	if code != exitFailure || !strings.HasPrefix(out, "after\n{") || !strings.Contains(stderr, "give the machine an id: write /etc/machine-id") || !strings.Contains(stderr, "hook 20") {
		t.Errorf("exit code %d, %q, %q; want a failure of the files in /etc alone", code, out, stderr)
	}
}
