package lifetime

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// book owns claims as the pool does: it calls the Warden under its own lock, and takes nothing that is stale. It also acts, and
// notes what is done and when.
type book struct {
	t       *testing.T
	warden  *Warden
	began   time.Time
	advance func(claim string, to Stage) error      // called before a stage is noted, if set
	noted   func(claim string, to Stage)            // called when one was, if set
	closing func(ctx context.Context, claim string) // what Close does, if set
	telling func(ctx context.Context, claim string) // what Close leaves to be told, if set
	warning func(ctx context.Context, claim string) // what Warn does, if set
	done    func(what, claim string, l Lease)       // told what is done, under mu, if set

	mu     sync.Mutex
	leases map[string]Lease
	log    []string // "what claim@time since the start"

	cancel context.CancelFunc
	loop   sync.WaitGroup
}

func newBook(t *testing.T) *book {
	return &book{t: t, began: time.Now(), leases: map[string]Lease{}, warden: NewWarden(slog.New(slog.DiscardHandler))}
}

// run starts the Warden; stop ends it and waits.
func (b *book) run() {
	ctx, cancel := context.WithCancel(b.t.Context())
	b.cancel = cancel
	w := b.warden
	b.loop.Go(func() { w.Run(ctx, b, b, closeTime) })
}

func (b *book) stop() {
	b.cancel()
	b.loop.Wait()
}

// restart has a new Warden take over the claims after the daemon was down for some time.
func (b *book) restart(down time.Duration) {
	b.stop()
	time.Sleep(down)
	b.mu.Lock()
	b.warden = NewWarden(slog.New(slog.DiscardHandler))
	for claim, lease := range b.leases {
		b.warden.Set(claim, ownerOf(claim), lease)
	}
	b.mu.Unlock()
	b.run()
}

// ownerOf is what a claim's name has before a slash. One without is an owner's only claim.
func ownerOf(claim string) string {
	owner, _, _ := strings.Cut(claim, "/")
	return owner
}

func (b *book) set(claim string, lease Lease) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leases[claim] = lease
	b.warden.Set(claim, ownerOf(claim), lease)
}

func (b *book) remove(claim string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.leases, claim)
	b.warden.Remove(claim)
}

func (b *book) extend(claim string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next, err := b.leases[claim].Extend(time.Now(), 0)
	if err == nil {
		b.leases[claim] = next
		b.warden.Set(claim, ownerOf(claim), next)
	}
	return err
}

func (b *book) Lease(claim string) (Lease, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.leases[claim]
	return l, ok
}

func (b *book) Advance(ctx context.Context, claim string, seen Lease, to Stage) (bool, error) {
	if b.advance != nil {
		if err := b.advance(claim, to); err != nil {
			return false, err
		}
	}
	if err := context.Cause(ctx); err != nil {
		return false, err
	}
	b.mu.Lock()
	l, ok := b.leases[claim]
	if ok = ok && l.equal(seen); ok {
		l.Stage = to
		b.leases[claim] = l
	}
	b.mu.Unlock()
	if ok && b.noted != nil {
		b.noted(claim, to)
	}
	return ok, nil
}

func (b *book) Expire(claim string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.leases[claim]
	switch {
	case !ok: // it was removed while it expired
	case time.Now().Before(l.ExpiresAt):
		b.warden.Set(claim, ownerOf(claim), l)
	default:
		delete(b.leases, claim)
		b.noteLocked("expire", claim, l)
	}
}

func (b *book) Warn(ctx context.Context, claim string, l Lease) {
	if l.Stage != Warned {
		b.t.Errorf("%s is warned in stage %s", claim, l.Stage)
	}
	b.note("warn", claim, l)
	if b.warning != nil {
		b.warning(ctx, claim)
	}
}

func (b *book) Close(ctx context.Context, claim string, l Lease) (tell func(context.Context)) {
	if l.Stage != Grace {
		b.t.Errorf("%s is closed in stage %s", claim, l.Stage)
	}
	b.note("close", claim, l)
	if b.closing != nil {
		b.closing(ctx, claim)
	}
	if b.telling == nil {
		return nil
	}
	return func(ctx context.Context) { b.telling(ctx, claim) }
}

func (b *book) note(what, claim string, l Lease) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.noteLocked(what, claim, l)
}

func (b *book) noteLocked(what, claim string, l Lease) {
	b.log = append(b.log, fmt.Sprintf("%s %s@%s", what, claim, time.Since(b.began)))
	if b.done != nil {
		b.done(what, claim, l)
	}
}

// want checks all that was done since the start.
func (b *book) want(want ...string) {
	b.t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.log, want) {
		b.t.Errorf("done:\n got %q\nwant %q", b.log, want)
	}
}

// wantAll checks of which claims one thing was done and when, in alphabetical order.
func (b *book) wantAll(what string, want ...string) {
	b.t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	var got []string
	for _, entry := range b.log {
		if of, ok := strings.CutPrefix(entry, what+" "); ok {
			got = append(got, of)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		b.t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// takes makes an act that lasts for d, or until its context ends.
func takes(d time.Duration) func(context.Context, string) {
	return func(ctx context.Context, _ string) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
}

// watching runs a test with a Warden that runs.
func watching(t *testing.T, test func(b *book)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		b.run()
		test(b)
		b.stop()
	})
}
