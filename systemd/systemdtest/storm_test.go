package systemdtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

const (
	clients  = 32
	holders  = 8  // of the clients, those that claim sandboxes; the others repeat the claims of one of them
	restarts = 20 // of a long round; -short makes a quarter of them
	// claimLives is how many restarts a holder keeps its claim for.
	claimLives = 4
	// pace is the pause of a client between two requests.
	pace = 50 * time.Millisecond
)

// storm is what all clients share.
type storm struct {
	round    atomic.Int64 // restarts so far
	claims   atomic.Int64 // that were made
	requests atomic.Int64
	answers  [clients]atomic.Int64
	held     [holders]held

	mu     sync.Mutex
	faults []string
}

// held is the claim of a holder. Whoever uses it has the lock, for reading unless it changes.
type held struct {
	sync.RWMutex
	request string
	claim   wire.Claim
}

func (s *storm) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

// TestRestartsUnderClients restarts the service again and again while 32 clients claim, check and release: each request has a
// connection of its own, as each command of sandpool has, and none that fails is repeated.
func TestRestartsUnderClients(t *testing.T) {
	if err := install(); err != nil {
		t.Fatal(err)
	}
	if err := configure(holders + 4); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := configure(2); err != nil {
			t.Error(err)
		}
	})
	c := start(t, "")
	var s storm
	stop := make(chan struct{})
	var running sync.WaitGroup
	for i := range clients {
		if i < holders {
			running.Go(func() { s.holder(t.Context(), i, stop) })
		} else {
			running.Go(func() { s.follower(t.Context(), i, stop) })
		}
	}
	s.awaitAnswers(t)
	rounds := restarts
	if testing.Short() {
		rounds /= 4
	}
	for range rounds {
		began := time.Now()
		systemctl(t, "restart", service)
		t.Logf("restart %d took %s", s.round.Add(1), time.Since(began).Round(time.Millisecond))
		s.awaitAnswers(t)
	}
	close(stop)
	running.Wait()
	for _, fault := range s.faults {
		t.Error(fault)
	}
	if left, err := c.List(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("claims that nobody holds: %+v, %v", left, err)
	}
	// The use and the release of a claim and the claim after it may each see a restart of their own.
	if made := s.claims.Load(); made < int64(holders*rounds/(claimLives+3)) {
		t.Errorf("the clients made only %d claims", made)
	}
	t.Logf("%d restarts under %d clients: %d claims, %d requests, %d refused or lost", rounds, clients, s.claims.Load(), s.requests.Load(), len(s.faults))
}

// awaitAnswers waits until every client has had one more answer.
func (s *storm) awaitAnswers(t *testing.T) {
	t.Helper()
	var before [clients]int64
	for i := range before {
		before[i] = s.answers[i].Load()
	}
	await(t, "every client is answered", func() bool {
		for i := range before {
			if s.answers[i].Load() == before[i] {
				return false
			}
		}
		return true
	})
}

// call is one request of a client, by a connection of its own.
func (s *storm) call(i int, what string, request func(*client.Client) error) bool {
	c := &client.Client{Socket: host.Inside(socket)}
	defer c.Close()
	err := request(c)
	s.requests.Add(1)
	s.answers[i].Add(1)
	if err != nil {
		s.fault("client %d: %s: %v", i, what, err)
	}
	return err == nil
}

// holder claims, checks and releases, until stop is closed and its last claim is released.
func (s *storm) holder(ctx context.Context, i int, stop <-chan struct{}) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	until := int64(i%claimLives) + 1 // so that not all claims end at once
	for life := 0; ; life++ {
		h := &s.held[i]
		h.Lock()
		h.request = fmt.Sprintf("job-%d-%d", i, life)
		s.call(i, "claim", func(c *client.Client) (err error) {
			h.claim, err = c.Claim(ctx, wire.ClaimRequest{RequestID: h.request})
			return err
		})
		h.Unlock()
		s.claims.Add(1)
		stopped := false
		for !stopped && s.round.Load() < until {
			s.call(i, "check", func(c *client.Client) error { return same(h.claim)(c.Get(ctx, h.claim.ID)) })
			select {
			case <-stop:
				stopped = true
			case <-tick.C:
			}
		}
		s.call(i, "use", func(c *client.Client) error { return works(ctx, c, h.claim) })
		h.Lock()
		s.call(i, "release", func(c *client.Client) error { return c.Release(ctx, h.claim.ID) })
		h.request = ""
		h.Unlock()
		if stopped {
			return
		}
		until = s.round.Load() + claimLives
	}
}

// follower repeats the claim of a holder, as one does that got no answer: it must get the same one.
func (s *storm) follower(ctx context.Context, i int, stop <-chan struct{}) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		h := &s.held[i%holders]
		h.RLock()
		if h.request != "" {
			s.call(i, "repeat", func(c *client.Client) error {
				return same(h.claim)(c.Claim(ctx, wire.ClaimRequest{RequestID: h.request}))
			})
		}
		h.RUnlock()
	}
}

// same checks that a claim is as it was.
func same(want wire.Claim) func(wire.Claim, error) error {
	return func(got wire.Claim, err error) error {
		if err == nil && (got.ID != want.ID || got.Sandbox != want.Sandbox || got.State != wire.ClaimRunning) {
			err = fmt.Errorf("claim %s of %s is %s of %s, %s", want.ID, want.Sandbox, got.ID, got.Sandbox, got.State)
		}
		return err
	}
}

// works runs a command in a claim's sandbox. A stream may be cut off by a stop, and says so then; that is no loss.
func works(ctx context.Context, c *client.Client, claim wire.Claim) error {
	for {
		code, err := c.Exec(ctx, claim.ID, wire.ExecRequest{Args: []string{"true"}}, client.Stdio{})
		if answer, ok := errors.AsType[*wire.Error](err); ok && answer.Code == "unavailable" {
			c.Close()
			continue
		}
		if err == nil && code != 0 {
			err = fmt.Errorf("exit code %d", code)
		}
		return err
	}
}
