package daemontest

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandpool/configs"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
	"sandpool/runtime/hostproc"
)

const hostileUser = 4242

// actAs returns a client of a daemon that comes as another user: each of its connections is passed on by one of that user's.
func actAs(t *testing.T, uid uintptr, socket string) *client.Client {
	t.Helper()
	for _, dir := range []string{host.Dir, filepath.Dir(socket)} {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket+"u")
	if err != nil {
		t.Fatal(err)
	}
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			passing.Go(func() { passOn(t, conn.(*net.UnixConn), uid, socket) })
		}
	})
	c := &client.Client{Socket: socket + "u"}
	t.Cleanup(func() {
		c.Close()
		_ = listener.Close()
		passing.Wait()
	})
	return c
}

// passOn connects as a user, and carries what is said until both sides are done.
func passOn(t *testing.T, conn *net.UnixConn, uid uintptr, socket string) {
	defer conn.Close() //nolint:errcheck // it was only passed on
	var to *net.UnixConn
	err := hostproc.OnThread(func() (err error) {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
			return errno
		}
		to, err = net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: socket})
		return err
	})
	if err != nil {
		t.Error(err)
		return
	}
	defer to.Close() //nolint:errcheck // the same
	var both sync.WaitGroup
	for from, to := range map[*net.UnixConn]*net.UnixConn{conn: to, to: conn} {
		both.Go(func() {
			_, err := io.Copy(to, from)
			if err = errors.Join(err, to.CloseWrite()); err != nil {
				_ = from.Close() // so that the other direction ends too
			}
		})
	}
	both.Wait()
}

// TestHostileUser has a user take what all share, as far as the daemon lets it. Another one is served all the same, which the order
// of events shows.
func TestHostileUser(t *testing.T) {
	const many = 12
	cfg := testConfig(t, many+2, 40)
	cfg.Daemon.SocketMode = "0666"
	cfg.Limits.Starts, cfg.Limits.ClaimsPerUser = 2, many
	second := lifetime.Duration(time.Second)
	cfg.Lifetimes["hostile"] = configs.Lifetime{Lifetime: 90 * second, Grace: 60 * second}
	cfg.Lifetimes["victim"] = configs.Lifetime{Lifetime: 50 * second, Grace: 20 * second}
	d := start(t, cfg)
	hostile := actAs(t, hostileUser, cfg.Daemon.Socket)
	awaitPool(t, d.Client)
	events := follow(t, d.Client)

	t.Run("restores that take long", func(t *testing.T) {
		slow := claim(t, hostile, wire.ClaimRequest{})
		if slow.Owner != "uid:4242" {
			t.Fatalf("its owner is %s", slow.Owner)
		}
		shell(t, hostile, slow.ID, `mkdir -p /etc/sandpool/restored.d /run/sandpool; cd /etc/sandpool/restored.d; printf '#!/bin/sh\nsleep 6\n' >slow; chmod +x slow
for name in /etc/machine-id /etc/hostname /run/sandpool/restored /run/sandpool/restored.new; do rm -f $name; mkfifo $name; done`)
		awaitPool(t, d.Client)
		forked := make(chan []wire.Claim, 1)
		go func() {
			forks, err := hostile.Fork(t.Context(), slow.ID, wire.ForkRequest{Count: 6})
			if err != nil {
				t.Error(err)
			}
			forked <- forks
		}()
		await(t, "the restores hold all starts", func() bool { return onlyPool(t, d.Client).Warming >= 2 })
		quick := claim(t, d.Client, wire.ClaimRequest{Start: wire.StartCold})
		forks := <-forked
		last := ""
		for range len(forks) + 1 {
			last = awaitEventOf(t, events, "claimed", append(forks, quick)).Claim
		}
		if last == quick.ID {
			t.Error("the other user's claim waited for all restores")
		}
		for _, c := range append(forks, slow) {
			if err := hostile.Release(t.Context(), c.ID); err != nil {
				t.Error(err)
			}
		}
		if err := d.Release(t.Context(), quick.ID); err != nil {
			t.Error(err)
		}
	})

	t.Run("claims of the whole pool that end together", func(t *testing.T) {
		awaitPool(t, d.Client)
		var all []wire.Claim
		for range many {
			all = append(all, claim(t, hostile, wire.ClaimRequest{Type: "hostile"}))
		}
		_, err := hostile.Claim(t.Context(), wire.ClaimRequest{})
		wantError(t, err, "quota")
		if err == nil || !strings.Contains(err.Error(), "uid:4242 has 12 claims and asks for 0, of at most 12 together") {
			t.Errorf("refused with %v", err)
		}
		victim := claim(t, d.Client, wire.ClaimRequest{Type: "victim"})
		for _, c := range all { // each has a pipe in place of the events that takes no more
			shell(t, hostile, c.ID, `mkdir -p /run/sandpool; cd /run/sandpool; rm -f events; mkfifo events
(exec 9<>events; head -c 70000 /dev/zero >&9 & exec sleep 1000) >/dev/null 2>&1 </dev/null &`)
		}
		saved := awaitEventOf(t, events, "checkpoint", []wire.Claim{victim}, "killed")
		if saved.Kind != "checkpoint" || !saved.Time.Before(victim.ExpiresAt) {
			t.Errorf("the other user's claim came to %s at %s, want it saved before its end at %s", saved.Kind, saved.Time, victim.ExpiresAt)
		}
	})
}

// awaitEventOf takes events until one of the claims and kinds comes, and returns it.
func awaitEventOf(t *testing.T, all <-chan wire.Event, kind string, of []wire.Claim, orKinds ...string) wire.Event {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e := <-all:
			for _, c := range of {
				if e.Claim == c.ID && (e.Kind == kind || len(orKinds) > 0 && e.Kind == orKinds[0]) {
					return e
				}
			}
		case <-timeout:
			t.Fatalf("no event %s", kind)
		}
	}
}
