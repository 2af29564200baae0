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
	restarts = 20
	// claimLives is how many restarts a client keeps its claim for: on a small machine sandboxes start slowly.
	claimLives = 10
	// pace is the pause of a client between two checks of its claim.
	pace = 50 * time.Millisecond
)

// storm is what all clients share.
type storm struct {
	round   atomic.Int64 // restarts so far
	claims  atomic.Int64 // that were made
	checks  atomic.Int64
	answers [clients]atomic.Int64

	mu     sync.Mutex
	faults []string
}

func (s *storm) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

// TestRestartsUnderClients restarts the service 20 times while 32 clients claim, check and release: each request has a
// connection of its own, as each command of sandpool has, and none is repeated.
func TestRestartsUnderClients(t *testing.T) {
	if err := install(); err != nil {
		t.Fatal(err)
	}
	if err := configure(clients + 8); err != nil {
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
		running.Go(func() { s.client(t.Context(), i, stop) })
	}
	s.awaitAnswers(t)
	for range restarts {
		began := time.Now()
		systemctl(t, "restart", service)
		t.Logf("restart %d took %s", s.round.Load()+1, time.Since(began).Round(time.Millisecond))
		s.round.Add(1)
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
	if made := s.claims.Load(); made < clients+restarts*clients/claimLives/2 {
		t.Errorf("the clients made only %d claims", made)
	}
	t.Logf("%d restarts under %d clients: %d claims, %d checks, %d refused or lost", s.round.Load(), clients, s.claims.Load(), s.checks.Load(), len(s.faults))
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

// client claims, checks and releases, until stop is closed and its last claim is released.
func (s *storm) client(ctx context.Context, i int, stop <-chan struct{}) {
	c := &client.Client{Socket: host.Inside(socket)}
	tick := time.NewTicker(pace)
	defer tick.Stop()
	until := int64(i%claimLives) + 1 // so that not all claims end at once
	for {
		held, err := c.Claim(ctx, wire.ClaimRequest{})
		c.Close()
		s.answers[i].Add(1)
		if err != nil {
			s.fault("client %d: claim: %v", i, err)
			return
		}
		s.claims.Add(1)
		stopped := false
		for !stopped && s.round.Load() < until {
			s.check(ctx, c, i, held)
			select {
			case <-stop:
				stopped = true
			case <-tick.C:
			}
		}
		if err := s.works(ctx, c, held); err != nil {
			s.fault("client %d: %v", i, err)
		}
		if err := c.Release(ctx, held.ID); err != nil {
			s.fault("client %d: release %s: %v", i, held.ID, err)
		}
		c.Close()
		s.answers[i].Add(1)
		if stopped {
			return
		}
		until = s.round.Load() + claimLives
	}
}

// check asks for a claim, which must be as it was.
func (s *storm) check(ctx context.Context, c *client.Client, i int, held wire.Claim) {
	got, err := c.Get(ctx, held.ID)
	c.Close()
	s.answers[i].Add(1)
	s.checks.Add(1)
	switch {
	case err != nil:
		s.fault("client %d: claim %s: %v", i, held.ID, err)
	case got.State != wire.ClaimRunning || got.Sandbox != held.Sandbox:
		s.fault("client %d: claim %s of %s is %s of %s", i, held.ID, held.Sandbox, got.State, got.Sandbox)
	}
}

// works runs a command in a claim's sandbox. A stream may be cut off by a stop, and says so then; that is no loss.
func (s *storm) works(ctx context.Context, c *client.Client, held wire.Claim) error {
	defer c.Close()
	for {
		code, err := c.Exec(ctx, held.ID, wire.ExecRequest{Args: []string{"true"}}, client.Stdio{})
		if answer, ok := errors.AsType[*wire.Error](err); ok && answer.Code == "unavailable" {
			continue
		}
		if err != nil || code != 0 {
			return fmt.Errorf("command in claim %s: exit code %d, %w", held.ID, code, err)
		}
		return nil
	}
}
