package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// attack is one way to get more than was given.
type attack struct {
	name string
	// run makes the attack. Its error says why it could not be made.
	run func(ctx context.Context, t *trial) error
}

// attackTime is how long one attack may take, on a slow machine too.
const attackTime = 4 * time.Minute

// attacks are made one after the other. The last one stops the daemon.
var attacks = slices.Concat(requestAttacks, wireAttacks, insideAttacks, networkAttacks(), imageAttacks, hostAttacks, shareAttacks, raceAttacks, floodAttacks, stopAttacks)

// result is what came of an attack.
type result struct {
	name  string
	tries int
	got   []string // what got through
	err   error    // why it was not made
}

func (r result) held() bool { return len(r.got) == 0 && r.err == nil }

func (r result) verdict() string {
	if r.err != nil {
		return "not made"
	}
	return strconv.Itoa(len(r.got))
}

// trial is an attack under way. Its methods may be called at once.
type trial struct {
	*ground

	mu    sync.Mutex
	tries int
	got   []string
}

// tried counts an attempt that has run.
func (t *trial) tried() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tries++
}

// through notes what got through.
func (t *trial) through(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.got = append(t.got, fmt.Sprintf(format, args...))
}

// makeOne makes an attack and returns what came of it so far.
func makeOne(ctx context.Context, a attack, t *trial) result {
	err := a.run(ctx, t)
	if err == nil && t.tries == 0 {
		err = errors.New("nothing was tried")
	}
	return result{name: a.name, tries: t.tries, got: t.got, err: err}
}

// attempt makes an attack, looks whether the victim has what it had, and cleans up.
func (g *ground) attempt(ctx context.Context, a attack) result {
	t := &trial{ground: g}
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, attackTime, fmt.Errorf("not done within %s", attackTime))
	defer cancel()
	r := result{name: a.name, err: g.prepare(ctx)}
	if r.err == nil {
		r = makeOne(ctx, a, t)
	}
	r.err = errors.Join(r.err, g.settle(ctx, t))
	r.got = t.got
	fmt.Fprintf(os.Stderr, "%-64s %3d tries, got through: %-8s %s\n", a.name, r.tries, r.verdict(), time.Since(began).Round(100*time.Millisecond))
	return r
}
