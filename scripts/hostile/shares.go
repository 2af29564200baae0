package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sandpool/daemon/wire"
)

// shareAttacks take what is another's share of something that all have together.
var shareAttacks = []attack{
	{"another's checkpoints, pushed out", pushedCheckpoints},
	{"another's events, pushed out", pushedEvents},
	{"another's claims, told by metrics", tellingMetrics},
	{"a pool, all of it", wholePool},
	{"connections, more than there are files", manyConnections},
	{"followers of events without end", manyFollowers},
	{"commands without end", manyExecs},
	{"headers that never end", slowHeaders},
}

func pushedCheckpoints(ctx context.Context, t *trial) error {
	own, err := t.attacker.claim(ctx, `{}`)
	if err != nil {
		return err
	}
	for range 8 { // of 6 that are kept
		a, err := t.attacker.do(ctx, "POST", "/v1/claims/"+own.ID+"/checkpoint", "")
		if err != nil {
			return err
		}
		if a.status == http.StatusCreated || a.status == http.StatusConflict || a.status == http.StatusTooManyRequests || a.status == http.StatusInsufficientStorage {
			t.tried()
		}
	}
	var kept wire.Checkpoint
	if err := t.victim.get(ctx, "/v1/checkpoints/"+t.saved.ID, &kept); err != nil {
		t.through("the victim's checkpoint is gone: %v", err)
		t.saved = wire.Checkpoint{}
	}
	return nil
}

// eventsOf returns the kinds of events of one claim that a user sees.
func (u *user) eventsOf(ctx context.Context, claim string) ([]string, error) {
	a, err := u.do(ctx, "GET", "/v1/events?claim="+claim, "")
	if err != nil {
		return nil, err
	}
	var kinds []string
	for line := range strings.Lines(a.body) {
		var event wire.Event
		if err := (answer{body: line}).into(&event); err != nil {
			return nil, err
		}
		if event.Claim == claim {
			kinds = append(kinds, event.Kind)
		}
	}
	return kinds, nil
}

func pushedEvents(ctx context.Context, t *trial) error {
	mine, err := t.victim.claim(ctx, `{}`) // of which the log knows for sure
	if err != nil {
		return err
	}
	before, err := t.victim.eventsOf(ctx, mine.ID)
	if err != nil || len(before) == 0 {
		return fmt.Errorf("the victim's events before: %v, %w", before, err)
	}
	own, err := t.attacker.claim(ctx, `{"type":"long"}`)
	if err != nil {
		return err
	}
	for range 230 { // of 100 that are kept, and the log may keep twice as many for a while
		a, err := t.attacker.do(ctx, "POST", "/v1/claims/"+own.ID+"/extend", "")
		if err != nil {
			return err
		}
		if a.status == http.StatusOK || a.status == http.StatusTooManyRequests {
			t.tried()
		}
	}
	after, err := t.victim.eventsOf(ctx, mine.ID)
	if err == nil && !slices.Equal(before, after) {
		t.through("the victim's events were %v and are %v", before, after)
	}
	return err
}

func tellingMetrics(ctx context.Context, t *trial) error {
	for _, accept := range []string{"application/openmetrics-text; version=1.0.0", "text/plain", "*/*"} {
		a, err := t.attacker.do(ctx, "GET", "/metrics", "", "Accept: "+accept)
		if err != nil {
			return err
		}
		if a.status == http.StatusOK || a.status == http.StatusForbidden {
			t.tried()
		}
		for _, id := range []string{t.claim.ID, t.saved.ID, t.claim.Sandbox, t.victim.owner()} {
			if strings.Contains(a.body, id) {
				t.through("the metrics tell %s of the victim, asked for as %s", id, accept)
			}
		}
	}
	return nil
}

func wholePool(ctx context.Context, t *trial) error {
	var all sync.WaitGroup
	for range wideMost + 1 {
		all.Go(func() {
			if _, err := t.attacker.do(ctx, "POST", "/v1/claims", `{"template":"wide","lifetime":"7d","wait":"50s"}`); err == nil {
				t.tried()
			}
		})
	}
	all.Wait()
	if t.tries <= wideMost {
		return fmt.Errorf("only %d of %d claims were answered", t.tries, wideMost+1)
	}
	a, err := t.victim.do(ctx, "POST", "/v1/claims", `{"template":"wide","wait":"20s"}`)
	if err == nil && a.status != http.StatusCreated {
		t.through("the victim gets no sandbox: %s", a)
	}
	return err
}

// hold opens connections as the attacker and sends each the same text. It keeps those that are open until release is called.
func (t *trial) hold(ctx context.Context, count int, text string) (conns []net.Conn, release func()) {
	for range count {
		conn, err := t.attacker.dial(ctx)
		if err != nil {
			t.tried() // it was refused
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, text) // one that is refused is closed
		conns = append(conns, conn)
		t.tried()
	}
	return conns, func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
}

// manyConnections lowers the number of files that the daemon may have, so that a few hundred connections are more than that.
func manyConnections(ctx context.Context, t *trial) error {
	var before unix.Rlimit
	if err := unix.Prlimit(t.daemon.Pid(), unix.RLIMIT_NOFILE, nil, &before); err != nil {
		return err
	}
	now, err := t.files()
	if err != nil {
		return err
	}
	lowered := unix.Rlimit{Cur: uint64(now) + 300, Max: before.Max} //nolint:gosec // positive
	if err := unix.Prlimit(t.daemon.Pid(), unix.RLIMIT_NOFILE, &lowered, nil); err != nil {
		return err
	}
	defer func() { _ = unix.Prlimit(t.daemon.Pid(), unix.RLIMIT_NOFILE, &before, nil) }()
	conns, release := t.hold(ctx, 450, "GET /healthz HTTP/1.1\r\nHost: s\r\n\r\n")
	defer release()
	if len(conns) == 0 {
		return errors.New("not one connection was opened")
	}
	t.served(ctx)
	return nil
}

// accepted counts the connections on which the answer began with one of these statuses.
func accepted(conns []net.Conn, statuses ...string) int {
	var good atomic.Int64
	var all sync.WaitGroup
	for _, conn := range conns {
		all.Go(func() {
			_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
			line, _ := bufio.NewReader(conn).ReadString('\n')
			if slices.ContainsFunc(statuses, func(status string) bool { return strings.Contains(line, " "+status+" ") }) {
				good.Add(1)
			}
		})
	}
	all.Wait()
	return int(good.Load())
}

func manyFollowers(ctx context.Context, t *trial) error {
	const count = 300
	conns, release := t.hold(ctx, count, "GET /v1/events?follow=true HTTP/1.1\r\nHost: s\r\n\r\n")
	defer release()
	good := accepted(conns, "200")
	if good == count {
		t.through("all of %d followers of one user are served", count)
	}
	t.served(ctx)
	return nil
}

// manyExecs starts commands that wait, more than any one user needs at a time, in several sandboxes.
func manyExecs(ctx context.Context, t *trial) error {
	const sandboxes, each = 6, 50
	var conns []net.Conn
	for range sandboxes {
		own, err := t.attacker.claim(ctx, `{"wait":"50s"}`)
		if err != nil {
			if len(conns) > 0 {
				break // more are refused to one user
			}
			return err
		}
		const body = `{"args":["cat"]}`
		more, release := t.hold(ctx, each, fmt.Sprintf("POST /v1/claims/%s/exec HTTP/1.1\r\nHost: s\r\nConnection: Upgrade\r\nUpgrade: %s\r\nContent-Length: %d\r\n\r\n%s", own.ID, wire.ExecProtocol, len(body), body))
		defer release() // all are to be held at the same time
		conns = append(conns, more...)
	}
	if good := accepted(conns, "101"); good == sandboxes*each {
		t.through("all of %d commands of one user are run", good)
	}
	t.served(ctx)
	return nil
}

func slowHeaders(ctx context.Context, t *trial) error {
	conns, release := t.hold(ctx, 200, "GET /v1/claims HTTP/1.1\r\nX-A: ")
	defer release()
	t.served(ctx)
	for _, conn := range conns[:min(len(conns), 1)] {
		_ = conn.SetReadDeadline(time.Now().Add(25 * time.Second))
		if _, err := io.Copy(io.Discard, conn); err != nil && !isHangUp(err) {
			t.through("headers may take for ever: %v", err)
		}
	}
	return nil
}
