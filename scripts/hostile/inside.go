package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sandpool/scripts/hostile/network"
)

// insideAttacks are made by root of a sandbox.
var insideAttacks = []attack{
	{"the host's files, from a sandbox", hostFiles},
	{"writing to a read-only bind", readOnlyBind},
	{"the init that all sandboxes share", sharedInit},
	{"devices and kernel files, from a sandbox", devices},
	{"the host's sockets and network, from a sandbox", sockets},
	{"links and pipes where the daemon writes in a sandbox", trappedNames},
	{"more processes, memory and disk than a sandbox has", ownLimits},
}

// inside claims a sandbox, runs each script in it, and returns what they printed. The last may kill it.
func (t *trial) inside(ctx context.Context, scripts ...string) (string, error) {
	var all strings.Builder
	own, err := t.attacker.claim(ctx, `{}`)
	if err != nil {
		return "", err
	}
	for _, script := range scripts {
		_, out, err := t.attacker.sandpool(ctx, "exec", "--no-stdin", own.ID, "--", "sh", "-c", "echo begun; "+script)
		if err != nil {
			return "", err
		}
		if !strings.Contains(out, "begun\n") {
			return "", fmt.Errorf("%s did not begin: %s", clip(script), clip(out))
		}
		t.tried()
		all.WriteString(out)
	}
	return all.String(), nil
}

// networkAttacks are those of the package network.
func networkAttacks() (all []attack) {
	for _, a := range network.Attacks {
		all = append(all, attack{a.Name, func(ctx context.Context, t *trial) error {
			for range a.Rounds {
				own, before, err := t.opening(ctx)
				if err != nil {
					return err
				}
				ground := &network.Ground{World: t.world, Guest: t.guest(t.attacker, own.ID), Victim: t.guest(t.victim, t.claim.ID), Files: t.files, Tried: t.tried, Through: t.through}
				err = errors.Join(a.Run(ctx, ground), t.grown(before))
				if _, releaseErr := t.attacker.do(ctx, "DELETE", "/v1/claims/"+own.ID, ""); err != nil || releaseErr != nil {
					return errors.Join(err, releaseErr)
				}
			}
			return nil
		}})
	}
	return all
}

// guest returns what runs a shell's text in a user's sandbox, with the command guest.
func (t *trial) guest(u *user, id string) func(ctx context.Context, script string) (string, error) {
	return func(ctx context.Context, script string) (string, error) {
		_, out, err := u.shell(ctx, id, `guest() { /mnt/guest "$@"; }; `+script)
		return out, err
	}
}

func hostFiles(ctx context.Context, t *trial) error {
	secret := t.host.Dir + "/root-secret"
	out, err := t.inside(ctx,
		"cat "+secret+" /mnt/given/.."+secret+" /mnt/given/../../../../../.."+secret,
		"cat /proc/1/root"+secret+" /proc/self/root/../../.."+secret,
		"for fd in /proc/[0-9]*/fd/*; do cat $fd/../../../.."+secret+" $fd"+secret+"; done 2>&1 </dev/null | head -c 100000",
		"ln -s "+secret+" /tmp/l; cat /tmp/l; ln -s / /tmp/r; cat /tmp/r"+secret,
		"mkdir /tmp/c; chroot /tmp/c /bin/true; cd /; for i in 1 2 3 4 5 6 7 8 9; do cd ..; done; cat ."+secret,
		"nsenter -t 1 -m -p -- cat "+secret+"; unshare -m -r cat "+secret,
		"mkdir -p /tmp/m; mount --bind / /tmp/m; mount -t proc proc /tmp/m; cat /tmp/m/1/root"+secret+"; mount -t 9p -o trans=fd,rfdno=0,wfdno=1 x /tmp/m; cat /tmp/m"+secret,
		"cat /proc/mounts /proc/self/mountinfo /proc/1/environ /proc/1/cmdline",
		"find / -xdev -name root-secret -exec cat {} +; find / -name '*.sock' 2>/dev/null",
	)
	t.tells(out, "a sandbox of the attacker's")
	if strings.Contains(out, t.host.Dir) && strings.Contains(out, "given type") {
		t.through("a sandbox's mounts tell a path of the host")
	}
	return err
}

func readOnlyBind(ctx context.Context, t *trial) error {
	_, err := t.inside(ctx,
		"echo changed >/mnt/given/file; echo new >/mnt/given/new; rm -f /mnt/given/file; mv /mnt/given/file /mnt/given/other; mkdir /mnt/given/d; ln -s / /mnt/given/l; mknod /mnt/given/n c 1 1; chmod 4777 /mnt/given/file; chown 1 /mnt/given/file",
		"mount -o remount,rw /mnt/given; echo changed >/mnt/given/file; mount -o remount,rw,bind /mnt/given /mnt/given; echo changed >/mnt/given/file",
		"mkdir -p /tmp/m; mount --bind /mnt/given /tmp/m; echo changed >/tmp/m/file; mount -o remount,rw /tmp/m; echo changed >/tmp/m/file; umount -l /mnt/given; echo x >/mnt/given/new",
		"exec 3</mnt/given/file; echo changed >/proc/self/fd/3; chmod 777 /proc/self/fd/3; cd /mnt/given; truncate -s 0 file; touch -d 2001-01-01 file; mknod fifo p; ln file hard",
		"nsenter -t 1 -m -- sh -c 'mount -o remount,rw /mnt/given; echo changed >/mnt/given/file'; unshare -m sh -c 'mount -o remount,rw /mnt/given; echo changed >/mnt/given/file'",
	)
	if err != nil {
		return err
	}
	var stat unix.Stat_t
	if err := unix.Lstat(filepath.Join(t.readOnlyFolder(), "file"), &stat); err != nil {
		t.through("the file in the bind is gone: %v", err)
		return nil
	}
	text, err := os.ReadFile(filepath.Join(t.readOnlyFolder(), "file"))
	if err != nil {
		return err
	}
	if string(text) != givenText || stat.Mode&0o7777 != givenMode || stat.Uid != 0 || stat.Nlink != 1 {
		t.through("the file in the bind is %s, mode %o, of %d, with %d links", clip(string(text)), stat.Mode, stat.Uid, stat.Nlink)
	}
	if entries, err := os.ReadDir(t.readOnlyFolder()); err != nil || len(entries) != 1 {
		t.through("the bound folder has %v, %v", entries, err)
	}
	return nil
}

func fileSum(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	sum := sha256.Sum256(data)
	return sum[:], err
}

func sharedInit(ctx context.Context, t *trial) error {
	before, err := fileSum(t.host.Init)
	if err != nil {
		return err
	}
	_, err = t.inside(ctx,
		"echo x >/.sandpool/init; cp /bin/busybox /.sandpool/init; rm -f /.sandpool/init; mv /.sandpool /tmp/s; echo x >/.sandpool/new; chmod 777 /.sandpool/init",
		"echo x >/proc/1/exe; cp /bin/busybox /proc/1/exe; exec 3<>/proc/1/exe; dd if=/dev/zero of=/proc/1/exe bs=1 count=1 conv=notrunc",
		"mount -o remount,rw /.sandpool/init; echo x >/.sandpool/init; umount -l /.sandpool/init; echo x >/.sandpool/init; mount --bind /bin/busybox /.sandpool/init",
		"/.sandpool/init begin </dev/null; /.sandpool/init tell </dev/null; /.sandpool/init restored </dev/null; kill -9 1; kill -STOP 1",
	)
	if err != nil {
		return err
	}
	after, err := fileSum(t.host.Init)
	if err == nil && !bytes.Equal(before, after) {
		t.through("the init on the host was changed")
	}
	return err
}

func devices(ctx context.Context, t *trial) error {
	out, err := t.inside(ctx,
		"for n in '8 0' '8 1' '254 0' '259 0' '253 0'; do rm -f /tmp/b; mknod /tmp/b b $n && dd if=/tmp/b bs=512 count=1 2>/dev/null | wc -c | grep -v ^0 | sed 's/^/READ block /'; done",
		"for n in '1 1' '1 4' '10 232' '1 11' '10 200' '10 229'; do rm -f /tmp/c; mknod /tmp/c c $n && dd if=/tmp/c bs=64 count=1 2>/dev/null | wc -c | grep -v ^0 | sed 's/^/READ char /'; done",
		"for f in /dev/mem /dev/kmem /dev/kvm /dev/kmsg /dev/sda /dev/vda /proc/kcore /proc/kmem; do [ -e $f ] && dd if=$f bs=64 count=1 2>/dev/null | wc -c | grep -v ^0 | sed \"s,^,READ $f ,\"; done",
		"echo c >/proc/sysrq-trigger && echo WROTE sysrq; echo '|/bin/sh' >/proc/sys/kernel/core_pattern && echo WROTE core_pattern; echo x >/sys/kernel/uevent_helper && echo WROTE uevent_helper; echo /x >/sys/fs/cgroup/release_agent && echo WROTE release_agent",
		"insmod /bin/busybox && echo WROTE module; reboot -f && echo WROTE reboot; swapon /bin/busybox && echo WROTE swap; date -s 2001-01-01 >/dev/null 2>&1; [ $(date +%Y) = 2001 ] && echo WROTE date",
		"mkdir -p /sys/fs/cgroup/x; mount -t cgroup -o memory c /sys/fs/cgroup/x && echo x >/sys/fs/cgroup/x/release_agent && echo WROTE release_agent",
	)
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "READ ") || strings.HasPrefix(line, "WROTE ") {
			t.through("%s", strings.TrimSpace(line))
		}
	}
	if core, _ := os.ReadFile("/proc/sys/kernel/core_pattern"); strings.HasPrefix(string(core), "|/bin/sh") {
		t.through("the host's core_pattern was changed")
	}
	return err
}

// sockets listens where a sandbox has no business, and looks who comes.
func sockets(ctx context.Context, t *trial) error {
	var came atomic.Int64
	var listeners []net.Listener
	listen := func(network, address string) (net.Listener, error) {
		ln, err := (&net.ListenConfig{}).Listen(ctx, network, address)
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, ln)
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				came.Add(1)
				_ = conn.Close()
			}
		}()
		return ln, nil
	}
	defer func() {
		for _, ln := range listeners {
			_ = ln.Close()
		}
	}()
	tcp, err := listen("tcp", ":0")
	if err != nil {
		return err
	}
	log, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.readOnlyFolder(), "sock")})
	if err != nil {
		return err
	}
	defer os.Remove(filepath.Join(t.readOnlyFolder(), "sock")) //nolint:errcheck // its end is checked below
	defer log.Close()                                          //nolint:errcheck // nothing was written
	_, port, _ := net.SplitHostPort(tcp.Addr().String())
	addresses := []string{"127.0.0.1", "::1", "localhost", "0.0.0.0", "169.254.169.254"}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, address := range own {
		if ip, ok := address.(*net.IPNet); ok && !ip.IP.IsLinkLocalUnicast() {
			addresses = append(addresses, ip.IP.String())
		}
	}
	_, err = t.inside(ctx,
		"for a in "+strings.Join(addresses, " ")+"; do nc -w 1 $a "+port+" </dev/null; wget -q -T 1 -O - http://$a:"+port+"/; done",
		"for s in /mnt/given/sock "+t.host.Address+" "+t.attacker.socket+" /run/containerd/containerd.sock /var/run/docker.sock; do rm -f /dev/log; ln -s $s /dev/log; logger reached; done",
		"/.sandpool/init connect "+port+" </dev/null; ip addr; route -n; ip link set lo down; ip route add default dev lo; wget -q -T 1 -O - http://"+tcp.Addr().String(),
	)
	if n := came.Load(); n > 0 {
		t.through("%d connections came to the host", n)
	}
	_ = log.SetReadDeadline(time.Now()) // what was sent is there
	if n, _, readErr := log.ReadFrom(make([]byte, 100)); readErr == nil {
		t.through("%d bytes came to a socket of the host in the bind", n)
	}
	return err
}

// trappedNames puts links and pipes in the places that the daemon's own processes write in a sandbox, which they do as its root: what
// they reach must be the sandbox's own, and they must not hang.
func trappedNames(ctx context.Context, t *trial) error {
	own, err := t.attacker.claim(ctx, `{"lifetime":"10m"}`)
	if err != nil {
		return err
	}
	for _, script := range []string{
		"rm -f /etc/hosts /etc/hostname; ln -s " + t.secretFile() + " /etc/hosts; ln -s /proc/1/mem /etc/hostname; rm -rf /run/sandpool; ln -s /mnt/given /run/sandpool",
		"rm -f /run/sandpool; mkdir -p /run/sandpool; ln -s /mnt/given/file /run/sandpool/events; rm -f /etc/resolv.conf; ln -s ../mnt/given/file /etc/resolv.conf",
	} {
		if code, out, err := t.attacker.shell(ctx, own.ID, script); err != nil || code != 0 {
			return fmt.Errorf("lay the traps: %d, %s, %w", code, clip(out), err)
		}
		a, err := t.attacker.do(ctx, "POST", "/v1/claims/"+own.ID+"/fork", `{"wait":"40s"}`)
		if err != nil {
			return err
		}
		t.tried()
		t.tells(a.body, "a fork")
	}
	if text, err := os.ReadFile(t.secretFile()); err != nil || strings.TrimSpace(string(text)) != t.secret {
		t.through("the host's file is %s, %v", clip(string(text)), err)
	}
	if text, err := os.ReadFile(filepath.Join(t.readOnlyFolder(), "file")); err != nil || string(text) != givenText {
		t.through("the bound file is %s, %v", clip(string(text)), err)
	}
	return nil
}

// ownLimits takes all that a sandbox has, and looks that the victim and the host have what they had.
func ownLimits(ctx context.Context, t *trial) error {
	for _, bomb := range []struct{ what, script string }{
		{"processes", `f() { f & f & wait; }; (f) 2>/dev/null & sleep 1; n=0; while [ $n -lt 100 ]; do sleep 50 & n=$((n+1)); done; ls -d /proc/[0-9]* | wc -l`},
		{"disk", "dd if=/dev/zero of=/fill bs=1M count=200 2>/dev/null && echo FILLED; rm -f /fill"},
		{"memory", "(tail /dev/zero; dd if=/dev/zero of=/dev/shm/x bs=1M count=400) >/dev/null 2>&1 && echo HELD"},
	} {
		own, err := t.attacker.claim(ctx, `{}`)
		if err != nil {
			return err
		}
		_, out, err := t.attacker.sandpool(ctx, "exec", "--no-stdin", own.ID, "--", "sh", "-c", "echo begun; "+bomb.script)
		if strings.Contains(out, "FILLED") || strings.Contains(out, "HELD") {
			t.through("a sandbox has more %s than its limit", bomb.what)
		}
		if err != nil && context.Cause(ctx) != nil {
			return context.Cause(ctx)
		}
		t.tried() // the bomb may have ended the sandbox, and with it the command
		t.served(ctx)
		if a, err := t.attacker.do(ctx, "DELETE", "/v1/claims/"+own.ID, ""); err != nil || a.status >= 500 {
			t.through("a sandbox with a bomb of %s cannot be ended: %s, %v", bomb.what, a, err)
		}
	}
	return nil
}
