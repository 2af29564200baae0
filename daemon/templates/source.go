package templates

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/containerd/errdefs"

	"sandpool/pool"
	"sandpool/runtime"
)

// maxSpoilt is how many restores from a snapshot may fail in a row before another one is made.
const maxSpoilt = 3

var _ pool.Source = (*source)(nil)

// source is a template that is ready: what its sandboxes are started from, or the snapshot that they go on from.
type source struct {
	preparer *Preparer
	template string
	prepared *runtime.Prepared
	onClaim  string
	network  string

	// Guarded by the preparer's mutex.
	snapshot string // the checkpoint that sandboxes go on from; empty: they are started
	spoilt   int    // restores from it that failed in a row
}

// Fingerprint implements pool.Source.
func (s *source) Fingerprint() string {
	if s.onClaim == "" {
		return s.prepared.Fingerprint()
	}
	hook := sha256.Sum256([]byte(s.onClaim))
	return s.prepared.Fingerprint() + "-" + hex.EncodeToString(hook[:8])
}

// OnClaim implements pool.Source.
func (s *source) OnClaim() string { return s.onClaim }

// Network implements pool.Source.
func (s *source) Network() string { return s.network }

// Start implements pool.Source.
func (s *source) Start(ctx context.Context, id string, cold bool, labels map[string]string) (pool.Started, error) {
	snapshot := s.goesOnFrom()
	if snapshot == "" || cold {
		took, err := s.preparer.start.Start(ctx, id, s.prepared, labels)
		return pool.Started{Phases: Phases(took)}, err
	}
	took, err := s.preparer.restore(ctx, id, snapshot, labels)
	s.restored(snapshot, err)
	return pool.Started{Phases: Phases(took), Restored: true}, err
}

// goesOnFrom is the snapshot that sandboxes go on from now; empty if they are started.
func (s *source) goesOnFrom() string {
	s.preparer.mu.Lock()
	defer s.preparer.mu.Unlock()
	return s.snapshot
}

// restored notes how a restore from a snapshot went. After one that can never succeed, or too many, another is made; until then
// sandboxes are started.
func (s *source) restored(snapshot string, err error) {
	p := s.preparer
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.snapshot != snapshot {
		return
	}
	if err == nil {
		s.spoilt = 0
		return
	}
	s.spoilt++
	if hopeless := errdefs.IsFailedPrecondition(err) || errdefs.IsNotFound(err); !hopeless && s.spoilt < maxSpoilt || errors.Is(err, context.Canceled) {
		return
	}
	p.log.Warn("snapshot of template cannot be used; another is made", "template", s.template, "checkpoint", snapshot, "err", err)
	s.snapshot = ""
	if t := p.templates[s.template]; t != nil && t.inUse == s { // else there is another already
		t.bad, t.due = snapshot, true
		p.loop.Wake()
	}
}

// Phases are the phases of a start as the pools know them.
func Phases(p runtime.Phases) pool.Phases {
	return pool.Phases{Image: p.Image, Sentry: p.Sentry, UserSpace: p.UserSpace, Dependencies: p.Dependencies, Ready: p.Ready}
}
