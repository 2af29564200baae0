package network

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// leastBurst is how many bytes pass at once whatever the rate is: a block of a door.
const leastBurst = 64 << 10

// meter counts the bytes of a sandbox, and holds them to its rate.
type meter struct {
	sent, got *rate.Limiter

	mu          sync.Mutex
	used, most  int64                  // bytes in both directions; most may be 0 for any number
	connections map[*upstream]struct{} // that are open
	changed     chan struct{}          // closed when the rate changes
}

func newMeter() meter {
	return meter{
		sent: rate.NewLimiter(rate.Inf, leastBurst), got: rate.NewLimiter(rate.Inf, leastBurst), connections: map[*upstream]struct{}{}, changed: make(chan struct{}),
	}
}

// bound sets the limits from now on. Connections that have spent what there is are reset.
func (m *meter) bound(l egress.Limits) {
	most := rate.Inf
	if l.Rate > 0 {
		most = rate.Limit(l.Rate)
	}
	same := m.sent.Limit() == most
	for _, limiter := range []*rate.Limiter{m.sent, m.got} {
		limiter.SetLimit(most)
		limiter.SetBurst(max(leastBurst, l.Rate/8))
	}
	m.mu.Lock()
	m.most = int64(l.Bytes)
	if !same { // else who waits would lose its turn
		close(m.changed)
		m.changed = make(chan struct{})
	}
	m.mu.Unlock()
	if m.spent() != nil {
		m.resetAll()
	}
}

// recount begins to count anew.
func (m *meter) recount() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used = 0
}

// add counts bytes in either direction, and says that they are more than there may be, and whether these are the first of that kind.
func (m *meter) add(n int) (r *refusal, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used += int64(n)
	if m.most == 0 || m.used <= m.most {
		return nil, false
	}
	return spent(m.most), m.used-int64(n) <= m.most
}

// spent says that no more bytes may pass.
func (m *meter) spent() *refusal {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.most == 0 || m.used < m.most {
		return nil
	}
	return spent(m.most)
}

func spent(most int64) *refusal {
	return denied(egress.Verdict{Kind: egress.KindLimit, Text: fmt.Sprintf("The sandbox has sent and got %d bytes, as many as it may (max_bytes).", most)})
}

func (m *meter) total() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

func (m *meter) enter(u *upstream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.connections[u] = struct{}{}
}

func (m *meter) leave(u *upstream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.connections, u)
}

// resetAll resets all connections of the sandbox.
func (m *meter) resetAll() {
	m.mu.Lock()
	all := make([]*upstream, 0, len(m.connections))
	for u := range m.connections {
		all = append(all, u)
	}
	m.mu.Unlock()
	for _, u := range all {
		u.reset()
	}
}

// slow waits until so many bytes may pass in a direction, by the rate that there is then.
func (m *meter) slow(ctx context.Context, direction *rate.Limiter, n int) error {
	for n > 0 && direction.Limit() != rate.Inf {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		piece := min(n, leastBurst)
		turn := direction.ReserveN(time.Now(), piece)
		select {
		case <-time.After(turn.Delay()):
			n -= piece
		case <-changed:
			turn.Cancel()
		case <-ctx.Done():
			turn.Cancel()
			return context.Cause(ctx)
		}
	}
	return nil
}

var _ door.Meter = (*upstream)(nil)

// Took counts bytes that the outside has sent, holds them up, and says why they may not pass.
func (u *upstream) Took(n int) error { return u.pass(0, n) }

// pass counts bytes, holds them up as long as the rate wants, and says why they may not pass. The first connection that finds the sandbox's bytes
// spent has all reset.
func (u *upstream) pass(sent, got int) error {
	u.sent.Add(int64(sent))
	u.got.Add(int64(got))
	u.n.o.Metrics.NetworkCarried(sent, got)
	if r, first := u.b.meter.add(sent + got); r != nil {
		if first {
			u.n.refuse(u.b, u.to, u.opened.Connection, r)
		}
		u.b.meter.resetAll()
		return r
	}
	if err := u.b.meter.slow(u.life, u.b.meter.sent, sent); err != nil {
		return err
	}
	return u.b.meter.slow(u.life, u.b.meter.got, got)
}
