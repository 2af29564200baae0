package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// begun prepares a private root, has the init begin there as the daemon does, and returns what its command says.
func begun(t *testing.T, prepare, command string) (code int, stdout, stderr string) {
	t.Helper()
	return inPrivate(t, prepare+"\n$init begin offline & exec $init await -- sh -c '"+command+"'")
}

const (
	firstHosts = "127.0.0.1\tlocalhost\n::1\tip6-localhost ip6-loopback\n"
	allNames   = firstHosts + "127.0.0.1\tbefore\t# this sandbox\nbefore\nnameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
)

// A command begins with the names of its sandbox in place, whatever the image has there.
func TestBegin(t *testing.T) {
	const show = "cat /etc/hosts /etc/hostname /etc/resolv.conf"
	for name, test := range map[string]struct{ prepare, command, want string }{
		"empty folder": {"", show + "; stat -c %a:%u /etc/hosts; ls -A /etc | wc -l", allNames + "644:0\n3\n"},
		"no folder":    {"rmdir /etc", show + "; stat -c %a /etc", allNames + "755\n"},
		"own files":    {"echo 1.2.3.4 x >/etc/hosts; echo y >/etc/hostname; echo z >/etc/resolv.conf; umask 077", show, allNames},
		"links": {
			"mkdir /host; echo kept >/host/hosts; ln -s /host/hosts /etc/hosts; ln -s ../run/nowhere /etc/resolv.conf; ln -s /host /etc/hostname",
			show + "; cat /host/hosts; ls /host", allNames + "kept\nhosts\n",
		},
		"a link to another folder": {"rmdir /etc; mkdir /srv; ln -s srv /etc", show + "; ls /srv", allNames + "hostname\nhosts\nresolv.conf\n"},
		"pipes and devices":        {"mkfifo /etc/hosts /etc/.sandpool-hosts; mknod /etc/resolv.conf c 1 5", show, allNames},
		"a mounted file": {
			"echo mine >/run/mine; touch /etc/hosts; mount --bind /run/mine /etc/hosts", "cat /etc/hosts /etc/hostname; ls -A /etc", "mine\nbefore\nhostname\nhosts\nresolv.conf\n",
		},
		"a mounted folder": {"mount -t tmpfs tmpfs /etc; echo mine >/etc/hosts", "cat /etc/hosts; ls /etc", "mine\nhosts\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, out, stderr := begun(t, test.prepare, test.command); code != 0 || out != test.want || stderr != "" {
				t.Errorf("exit code %d, %q, want %q: %s", code, out, test.want, stderr)
			}
		})
	}
}

// A sandbox with a door has its names answered by process 1, which may have to wait for the daemon.
func TestBeginWithADoor(t *testing.T) {
	code, out, stderr := inPrivate(t, "$init begin door & exec $init await -- cat /etc/resolv.conf")
	if want := "nameserver 127.0.0.1\noptions timeout:10 attempts:2\n"; code != 0 || out != want || stderr != "" {
		t.Errorf("exit code %d, %q, want %q: %s", code, out, want, stderr)
	}
}

// What cannot be written keeps no command from running.
func TestBeginWhatItCan(t *testing.T) {
	for name, test := range map[string]struct{ prepare, reason string }{
		"read-only": {"mount --bind /etc /etc; mount -o remount,bind,ro /etc", "write /etc/hosts: read-only file system"},
		"a file":    {"rmdir /etc; echo >/etc", "open /etc: not a directory"},
		"a pipe":    {"rmdir /etc; mkfifo /etc", "open /etc: not a directory"},
		"nowhere":   {"rmdir /etc; ln -s nowhere /etc", "open /etc: no such file or directory"},
		"folders":   {"mkdir -p /etc/hosts", "write /etc/hosts: is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, out, stderr := begun(t, test.prepare, "echo runs"); code != 0 || out != "runs\n" || !strings.Contains(stderr, test.reason) {
				t.Errorf("exit code %d, %q, want that it runs and %q: %s", code, out, test.reason, stderr)
			}
		})
	}
}

// The names change after a restore; what users added stays.
func TestRestoredNames(t *testing.T) {
	code, out, stderr := begun(t, "init2=$init; export init2", `echo "10.0.0.1 db" >>/etc/hosts; mkfifo /etc/machine-id; $init2 restored after-1; cat /etc/hosts /etc/hostname; cat /etc/resolv.conf | head -1; wc -c </etc/machine-id`)
	if want := firstHosts + "10.0.0.1 db\n127.0.0.1\tafter-1\t# this sandbox\nafter-1\nnameserver 127.0.0.1\n33\n"; code != 0 || out != want {
		t.Errorf("exit code %d, %q, want %q: %s", code, out, want, stderr)
	}
	code, out, stderr = begun(t, "init2=$init; export init2", `rm /etc/hosts; mkfifo /etc/hosts; $init2 restored after-1; cat /etc/hosts`)
	if want := firstHosts + "127.0.0.1\tafter-1\t# this sandbox\n"; code != 0 || out != want {
		t.Errorf("in place of a pipe: exit code %d, %q, want %q: %s", code, out, want, stderr)
	}
}

// A file system that is full has room for the names, since the old ones make it.
func TestRestoredOnAFullDisk(t *testing.T) {
	code, out, stderr := begun(t, "init2=$init; export init2", `mount -o remount,size=1m /; dd if=/dev/zero of=/big 2>/dev/null; echo x >/y && cat /y; $init2 restored after-1; tail -1 /etc/hosts; cat /etc/hostname`)
	if want := "127.0.0.1\tafter-1\t# this sandbox\nafter-1\n"; !strings.HasSuffix(out, want) {
		t.Errorf("exit code %d, %q, want %q: %s", code, out, want, stderr)
	}
}

// One that waits to begin ends when it is asked to.
func TestAwaitEnds(t *testing.T) {
	s := startInit(t, "await", "--", "echo", "began")
	sockets := fmt.Sprintf("/proc/%d/net/unix", s.cmd.Process.Pid)
	for waits := false; !waits; runtime.Gosched() {
		list, err := os.ReadFile(sockets)
		if err != nil {
			t.Fatal(err)
		}
		waits = strings.Contains(string(list), beginSocket)
	}
	s.signal(t, syscall.SIGTERM)
	if code, out := s.end(); code != exitSignal+int(syscall.SIGTERM) || out != "" {
		t.Errorf("exit code %d, %q, want 143: %s", code, out, s.stderr.String())
	}
}
