// Package doors keeps the doors of sandboxes open: the connections by which those reach what their templates and claims allow.
package doors

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/lifetime/wait"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// attempts are the pauses between attempts to open the door of a sandbox that runs. A door that ends sooner than after the last of them counts as
// one that failed: what is in the sandbox could end its doors for ever, and each costs the host a command.
var attempts = wait.Backoff{First: 100 * time.Millisecond, Last: time.Minute}

// Server serves what comes through doors; see network.Server for what its methods promise.
type Server interface {
	Set(sandbox string, l egress.Layers) error
	Serve(ctx context.Context, sandbox string, s *door.Session) error
	Forget(sandbox string)
}

// Options are what a Keeper is made of. All fields are required.
type Options struct {
	// Open has a sandbox's process 1 take a new pair of pipes, and returns the other ends.
	Open   func(ctx context.Context, sandbox string) (in, out *os.File, err error)
	Server Server
	Log    *slog.Logger
}

// Keeper opens doors, and opens them again when the other end goes away while the sandbox lives. Make one with New.
type Keeper struct {
	Options

	life context.Context //nolint:containedctx // that of all doors
	end  context.CancelFunc
	work sync.WaitGroup

	mu    sync.Mutex
	doors map[string]*kept
}

// kept is the door of one sandbox.
type kept struct {
	sandbox string
	life    context.Context //nolint:containedctx // the door's
	end     context.CancelFunc
	loop    *wait.Loop
	turn    chan struct{} // one slot: held by whoever opens it

	// Guarded by the keeper's mutex.
	text      string // that was set
	rests     bool   // what is started in the sandbox now would wait
	failures  int    // in a row
	open      bool
	since     time.Time // when it was opened
	brief     int       // doors in a row that ended soon
	notBefore time.Time // the next attempt, unless it is asked for
}

// New makes a Keeper that keeps no door.
func New(o Options) *Keeper {
	life, end := context.WithCancel(context.Background())
	return &Keeper{Options: o, life: life, end: end, doors: map[string]*kept{}}
}

// Close ends all that is connected through doors. Sandboxes keep their listeners, and wait for the next keeper.
func (k *Keeper) Close() {
	k.mu.Lock()
	k.end() // nothing is begun from here on
	k.mu.Unlock()
	k.work.Wait()
}

// Set says what a sandbox may connect to from now on, as its label has it; text that is empty means that it has no door, or that one which it
// had leads nowhere. The door is opened by Open or Ensure.
func (k *Keeper) Set(sandbox, text string) error {
	if text == k.text(sandbox) { // as of nearly each claim
		return nil
	}
	layers, err := egress.ParseLayers(text)
	if err != nil {
		return fmt.Errorf("read the network of sandbox %s: %w", sandbox, err)
	}
	if err := k.Server.Set(sandbox, layers); err != nil {
		return fmt.Errorf("set the network of sandbox %s: %w", sandbox, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if d := k.doors[sandbox]; d != nil {
		d.text = text
		return nil
	}
	if context.Cause(k.life) != nil {
		return nil
	}
	d := &kept{sandbox: sandbox, text: text, loop: wait.NewLoop(), turn: make(chan struct{}, 1), rests: true}
	d.life, d.end = context.WithCancel(k.life)
	k.doors[sandbox] = d
	k.work.Go(func() { d.loop.Run(d.life, func() time.Duration { return k.look(d) }) })
	return nil
}

// Open opens the door of a sandbox that runs, if it has one, and keeps it open.
func (k *Keeper) Open(ctx context.Context, sandbox string) error {
	d := k.awake(sandbox)
	if d == nil {
		return nil
	}
	return k.open(ctx, d)
}

// Ensure is Open that does not wait.
func (k *Keeper) Ensure(sandbox string) {
	if d := k.awake(sandbox); d != nil {
		d.loop.Wake()
	}
}

// Rest says that the sandbox is paused. What is connected stays so.
func (k *Keeper) Rest(sandbox string) { k.resting(sandbox, true) }

// Forget closes the door of a sandbox that is to end.
func (k *Keeper) Forget(sandbox string) {
	k.mu.Lock()
	d := k.doors[sandbox]
	delete(k.doors, sandbox)
	k.mu.Unlock()
	if d != nil {
		d.end()
		k.Server.Forget(sandbox)
	}
}

// text is what was set of a sandbox; empty if it has no door.
func (k *Keeper) text(sandbox string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if d := k.doors[sandbox]; d != nil {
		return d.text
	}
	return ""
}

func (k *Keeper) awake(sandbox string) *kept { return k.resting(sandbox, false) }

func (k *Keeper) resting(sandbox string, rests bool) *kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.doors[sandbox]
	if d != nil {
		d.rests, d.notBefore = rests, time.Time{}
	}
	return d
}

// look opens a door that is not open, and says when to try again.
func (k *Keeper) look(d *kept) time.Duration {
	k.mu.Lock()
	idle, pause := d.rests || d.open, time.Until(d.notBefore)
	k.mu.Unlock()
	if idle {
		return wait.Never
	}
	if pause > 0 {
		return pause
	}
	err := k.open(d.life, d)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		d.failures = 0
		return wait.Never
	}
	if d.failures++; d.failures == 1 && context.Cause(d.life) == nil {
		k.Log.Warn("sandbox has no network for now", "sandbox", d.sandbox, "err", err)
	}
	if errdefs.IsNotFound(err) || errdefs.IsFailedPrecondition(err) { // it has gone, or will never have one
		return wait.Never
	}
	return attempts.After(d.failures)
}

// open opens a door unless it is open, and has it served.
func (k *Keeper) open(ctx context.Context, d *kept) error {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if k.isOpen(d) {
		return nil
	}
	in, out, err := k.Options.Open(ctx, d.sandbox)
	if err != nil {
		return fmt.Errorf("open the door of sandbox %s: %w", d.sandbox, err)
	}
	return k.serve(d, door.New(in, out, door.Options{}))
}

// serve has a new door served, unless its sandbox or the keeper has ended meanwhile.
func (k *Keeper) serve(d *kept, s *door.Session) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := context.Cause(d.life); err != nil {
		s.Close()
		return fmt.Errorf("open the door of sandbox %s: %w", d.sandbox, err)
	}
	d.open, d.since = true, time.Now()
	k.work.Go(func() {
		err := k.Server.Serve(d.life, d.sandbox, s)
		s.Close()
		k.closed(d)
		k.Log.Debug("door has closed", "sandbox", d.sandbox, "err", err)
		d.loop.Wake()
	})
	return nil
}

func (k *Keeper) isOpen(d *kept) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return d.open
}

// closed notes that a door has ended, and when the next one may be opened.
func (k *Keeper) closed(d *kept) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d.open = false
	if time.Since(d.since) >= attempts.Last {
		d.brief = 0
		return
	}
	d.brief++
	d.notBefore = time.Now().Add(attempts.After(d.brief))
}
