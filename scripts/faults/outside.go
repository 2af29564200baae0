package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"sandpool/daemon/wire"
)

// outsiders are what containerd's own client does with the task of a sandbox, and what a sandbox in the pool must be for that: runsc
// neither ends a paused one nor resumes one that runs.
var outsiders = []struct {
	what     string
	commands []string
	of       string
	ends     bool
}{
	{"paused", []string{"pause"}, "hot", false},
	{"resumed", []string{"resume"}, "warm", false},
	{"killed", []string{"kill --signal SIGKILL"}, "hot", true},
	{"deleted", []string{"delete --force"}, "hot", true},
}

// The moments of that.
const (
	whileRunning = iota // and no restart follows
	beforeRestart
	duringRestart
	moments
)

// outsideRounds are all tasks of a claimed sandbox and of one in the pool, at each moment.
var outsideRounds = len(outsiders) * moments * 2

// changeTask changes a task behind the daemon's back. A claim must outlive that, or be dead with a reason if its sandbox was ended; a
// sandbox in the pool must never be handed out after it.
func changeTask(ctx context.Context, r *rig, round int) error {
	by := outsiders[round%len(outsiders)]
	moment := round / len(outsiders) % moments
	pooled := round/len(outsiders)/moments > 0
	e, err := r.one(ctx, "")
	if err != nil {
		return err
	}
	victim, stop := e.claim.Sandbox, r.client.Close
	if pooled {
		victim, err = r.ready(ctx, by.of)
	} else {
		stop = r.load(ctx) // which would take those in the pool
		if by.what == "resumed" {
			err = r.task(ctx, victim, "pause")
		}
	}
	if err == nil {
		err = r.changeAt(ctx, moment, victim, by.commands, stop)
	}
	if err != nil {
		return err
	}
	if !pooled {
		return r.checkClaimOf(ctx, e, by.ends)
	}
	if !await(ctx, leakTimeout, func(ctx context.Context) bool {
		all, err := r.ids(ctx, "containers", "ls", "-q")
		return err == nil && !all[victim]
	}) {
		r.out.lose("sandbox %s was %s in the pool, and is there still", victim, by.what)
	}
	return r.checkNeverGiven(ctx, victim, "it was "+by.what)
}

// changeAt runs commands on a sandbox's task before, during or without a restart of the daemon. stop ends the load.
func (r *rig) changeAt(ctx context.Context, moment int, sandbox string, commands []string, stop func()) error {
	if moment == duringRestart {
		r.daemon.Kill()
	}
	err := r.task(ctx, sandbox, commands...)
	if moment == beforeRestart {
		r.daemon.Kill()
	}
	stop()
	r.repaired = time.Now()
	if moment != whileRunning {
		err = errors.Join(err, r.start(ctx))
	}
	return err
}

// task has containerd's own client do something with the task of a sandbox.
func (r *rig) task(ctx context.Context, sandbox string, commands ...string) error {
	for _, command := range commands {
		if _, err := r.ctr(ctx, append(append([]string{"tasks"}, strings.Fields(command)...), sandbox)...); err != nil {
			return err
		}
	}
	return nil
}

// checkClaimOf looks whether a claim is dead with a reason, if its sandbox was ended, and works otherwise.
func (r *rig) checkClaimOf(ctx context.Context, e *entry, ended bool) error {
	var now wire.Claim
	var err error
	if !await(ctx, useTimeout, func(ctx context.Context) bool {
		now, err = r.client.Get(ctx, e.claim.ID)
		if ended {
			return err == nil && now.State == wire.ClaimDead && now.Reason != ""
		}
		if err == nil {
			err = r.tryHeld(ctx, *e)
		}
		return err == nil && now.State != wire.ClaimDead
	}) {
		r.out.lose("%s on %s: it is %s: %v", e.claim.ID, e.claim.Sandbox, now.State, err)
	}
	return context.Cause(ctx)
}
