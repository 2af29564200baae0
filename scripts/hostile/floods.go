package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"sandpool/daemon/wire"
	"sandpool/scripts/testhost"
)

// raceAttacks do things to a claim at the same time that do not go together.
var raceAttacks = []attack{
	{"a release beside every other request", releaseRaces},
	{"a claim whose client has gone", goneClients},
}

// floodAttacks take the daemon's time.
var floodAttacks = []attack{
	{"a body that never comes", slowBody},
	{"restores that never end", endlessRestores},
	{"claims that cannot be told of their end", endlessTelling},
}

// stopAttacks end the daemon.
var stopAttacks = []attack{{"a stop that bodies hold up", heldStop}}

// releaseRaces ends claims while they are used, saved, forked, extended and asked for, and looks that no sandbox has two owners.
func releaseRaces(ctx context.Context, t *trial) error {
	var mu sync.Mutex
	seen := map[string]string{} // claims by sandbox
	note := func(claim wire.Claim) {
		mu.Lock()
		defer mu.Unlock()
		if other := seen[claim.Sandbox]; other != "" && other != claim.ID || claim.Sandbox == t.claim.Sandbox {
			t.through("sandbox %s is of %s and of %s", claim.Sandbox, claim.ID, other)
		}
		seen[claim.Sandbox] = claim.ID
	}
	for round := range 4 {
		request := fmt.Sprintf(`{"request_id":"race-%d","wait":"50s"}`, round)
		own, err := t.attacker.claim(ctx, request)
		if err != nil {
			return err
		}
		note(own)
		at := "/v1/claims/" + own.ID
		var all sync.WaitGroup
		for _, send := range [][3]string{
			{"DELETE", at}, {"POST", at + "/checkpoint", `{"stop":true}`}, {"POST", at + "/checkpoint"}, {"POST", at + "/fork", `{"wait":"30s"}`}, {"POST", at + "/extend"}, {"GET", at}, {"DELETE", at},
			{"POST", "/v1/claims", request}, {"POST", "/v1/claims", request}, {"EXEC", at},
		} {
			all.Go(func() {
				if send[0] == "EXEC" {
					_, _, _ = t.attacker.shell(ctx, own.ID, "true") // it may be too late
					t.tried()
					return
				}
				a, err := t.attacker.do(ctx, send[0], send[1], send[2])
				if err != nil {
					return
				}
				t.tried()
				if a.status == http.StatusInternalServerError {
					t.through("%s %s was answered %s", send[0], send[1], a)
				}
				var list wire.ClaimList
				var claim wire.Claim
				switch {
				case strings.HasSuffix(send[1], "/fork") && a.into(&list) == nil:
					for _, fork := range list.Claims {
						note(fork)
					}
				case send[1] == "/v1/claims" && a.into(&claim) == nil:
					note(claim)
				}
			})
		}
		all.Wait()
		if _, out, err := t.victim.shell(ctx, t.claim.ID, "cat "+secretInside); err != nil || strings.TrimSpace(out) != t.secret {
			t.through("the victim has %s, %v", clip(out), err)
		}
		if err := t.tidy(ctx); err != nil {
			return err
		}
	}
	return nil
}

// goneClients asks for sandboxes and hangs up: what is given to nobody must be given back.
func goneClients(ctx context.Context, t *trial) error {
	for i := range 30 {
		conn, err := t.attacker.dial(ctx)
		if err != nil {
			return err
		}
		const body = `{"wait":"30s"}`
		if _, err := fmt.Fprintf(conn, "POST /v1/claims HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			return err
		}
		if i%3 == 0 {
			_, _ = conn.Read(make([]byte, 1)) // the answer has begun
		}
		_ = conn.Close()
		t.tried()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 2*patience, errors.New("it did not happen"))
	defer cancel()
	var left []wire.Claim
	err := testhost.Poll(ctx, 200*time.Millisecond, func() bool {
		var pools wire.PoolList
		if t.root.get(ctx, "/v1/pools", &pools) != nil {
			return false
		}
		for _, pool := range pools.Pools {
			if pool.Waiting > 0 {
				return false
			}
		}
		var err error
		left, err = t.attacker.claims(ctx)
		return err == nil && len(left) <= 10 // those whose answers had begun are the client's
	})
	if err != nil {
		t.through("clients that went away keep %d claims, or go on waiting", len(left))
	}
	return nil
}

// bodyLimit is when a body that does not come must have been given up; docs/api.md promises 10 seconds.
const bodyLimit = 25 * time.Second

const halfBody = "POST /v1/claims HTTP/1.1\r\nHost: s\r\nContent-Length: 60000\r\n\r\n{"

func slowBody(ctx context.Context, t *trial) error {
	conn, err := t.attacker.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // all was read
	if _, err := io.WriteString(conn, halfBody); err != nil {
		return err
	}
	t.tried()
	_ = conn.SetReadDeadline(time.Now().Add(bodyLimit))
	if _, err := io.Copy(io.Discard, conn); err != nil && !isHangUp(err) {
		t.through("there was no end in %s: %v", bodyLimit, err)
	}
	return nil
}

// awaitPool waits until the pool of the template default is as it should be.
func (g *ground) awaitPool(ctx context.Context, good func(wire.Pool) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("the pool did not come to that state"))
	defer cancel()
	return testhost.Poll(ctx, 20*time.Millisecond, func() bool {
		var list wire.PoolList
		if g.root.get(ctx, "/v1/pools", &list) != nil {
			return false
		}
		return slices.ContainsFunc(list.Pools, func(pool wire.Pool) bool { return pool.Template == "default" && good(pool) })
	})
}

// endlessRestores forks a sandbox whose own programs hold up each restore, and looks whether a start of the victim's waits for that.
func endlessRestores(ctx context.Context, t *trial) error {
	own, err := t.attacker.claim(ctx, `{}`)
	if err != nil {
		return err
	}
	if code, out, err := t.attacker.shell(ctx, own.ID, `rm -f /etc/machine-id; mkfifo /etc/machine-id
mkdir -p /etc/sandpool/restored.d; cd /etc/sandpool/restored.d; for i in 1 2 3 4 5 6 7 8 9; do printf '#!/bin/sh\nsleep 1000\n' >$i; chmod 755 $i; done`); err != nil || code != 0 {
		return fmt.Errorf("lay the traps: %d, %s, %w", code, clip(out), err)
	}
	// Once the pool is whole, what is started is a restore.
	if err := t.awaitPool(ctx, func(pool wire.Pool) bool { return pool.Warming == 0 && pool.Available >= pool.Target-pool.InUse }); err != nil {
		return err
	}
	forks, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	ended := make(chan struct{})
	for range 2 {
		all.Go(func() { _, _ = t.attacker.do(forks, "POST", "/v1/claims/"+own.ID+"/fork", `{"count":3,"wait":"50s"}`) })
	}
	go func() {
		defer close(ended)
		all.Wait()
	}()
	if err := t.awaitPool(ctx, func(pool wire.Pool) bool {
		select {
		case <-ended: // each was refused or made, which is an end too
			return true
		default:
			return pool.Warming >= min(2, goruntime.NumCPU())
		}
	}); err != nil {
		return err
	}
	t.tried()
	a, err := t.victim.do(ctx, "POST", "/v1/claims", `{"start":"cold","wait":"25s"}`)
	if err == nil && a.status != http.StatusCreated {
		t.through("a start of the victim's does not come: %s", a)
	}
	stop()
	all.Wait()
	return err
}

// endlessTelling has claims at their end whose sandboxes cannot be told of it, and looks whether the victim's is saved in time.
func endlessTelling(ctx context.Context, t *trial) error {
	const hostile, body = 12, `{"type":"short","wait":"50s"}` // of which four at a time were told, for ten seconds each
	owns := make([]wire.Claim, hostile)
	var claims errgroup.Group
	for i := range owns {
		claims.Go(func() (err error) { owns[i], err = t.attacker.claim(ctx, body); return err })
	}
	refused := claims.Wait() // some may be, by a quota
	victims, err := t.victim.claim(ctx, body)
	if err != nil {
		return err
	}
	var traps errgroup.Group
	for _, own := range owns {
		if own.ID == "" {
			continue
		}
		traps.Go(func() error {
			code, out, err := t.attacker.sandpool(ctx, "exec", "--detach", own.ID, "--", "sh", "-c",
				"mkdir -p /run/sandpool; rm -f /run/sandpool/events; mkfifo /run/sandpool/events; exec 3<>/run/sandpool/events; head -c 65536 /dev/zero >&3; trap '' TERM; while :; do sleep 1; done")
			if err != nil || code != 0 {
				return fmt.Errorf("lay the trap: %d, %s, %w", code, clip(out), err)
			}
			t.tried()
			return nil
		})
	}
	if err := traps.Wait(); err != nil || t.tries == 0 {
		return errors.Join(refused, err)
	}
	var events string
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// The middle of the grace: by then it was saved, and told, as without the others.
	middle := victims.ExpiresAt.Add(-time.Duration(victims.Grace) / 2)
	_ = testhost.Poll(wait, 200*time.Millisecond, func() bool {
		a, err := t.victim.do(ctx, "GET", "/v1/events?claim="+victims.ID, "")
		events = a.body
		return err == nil && strings.Contains(events, `"kind":"checkpoint"`) || time.Now().After(middle)
	})
	if !strings.Contains(events, `"kind":"checkpoint"`) {
		t.through("half of the victim's grace is over, and it is not saved: %s", clip(events[strings.LastIndex(strings.TrimSpace(events), "\n")+1:]))
	}
	return nil
}

// heldStop stops the daemon while bodies do not come.
func heldStop(ctx context.Context, t *trial) error {
	_, release := t.hold(ctx, 20, halfBody)
	defer release()
	t.stopped = true
	began := time.Now()
	if err := t.daemon.Signal(unix.SIGTERM); err != nil {
		return err
	}
	select {
	case <-t.daemon.Done():
	case <-time.After(bodyLimit):
		t.through("the daemon does not stop within %s", bodyLimit)
		<-t.daemon.Done()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	fmt.Printf("the stop took %s\n", time.Since(began).Round(100*time.Millisecond))
	return nil
}
