package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/containerd/errdefs"

	"sandpool/pool"
	"sandpool/runtime"
	"sandpool/runtime/checkpoint"
)

// triggerTemplate is why the snapshot of a template was taken.
const triggerTemplate = "template"

// maxSpoilt is how many restores from a snapshot may fail in a row before another one is made.
const maxSpoilt = 3

// trier is what snapshots need of the pools.
type trier interface {
	Try(ctx context.Context, template string, use func(ctx context.Context, id string, labels map[string]string) error) error
}

// starter is what snapshots need of the runtime.
type starter interface {
	Start(ctx context.Context, id string, p *runtime.Prepared, labels map[string]string) (runtime.Phases, error)
	Checkpoint(ctx context.Context, id, dir string) (checkpoint.Fit, error)
}

var (
	_ trier   = (*pool.Controller)(nil)
	_ starter = (*runtime.Engine)(nil)
)

// snapshots makes the checkpoints that sandboxes of warm templates go on from.
type snapshots struct {
	store  *checkpoint.Store
	pools  trier
	engine starter
	region string
	log    *slog.Logger
}

// of returns the snapshot of a template. One that was made before, and is not bad, is used if all that it was made from is the same.
func (s *snapshots) of(ctx context.Context, name string, p *runtime.Prepared, bad string) (string, error) {
	for _, m := range s.store.List() {
		if m.Trigger == triggerTemplate && m.Template == name && m.Fingerprint == p.Fingerprint() && m.ID != bad {
			return m.ID, nil
		}
	}
	return s.build(ctx, name, p)
}

// build starts one sandbox of a template, saves it once it is ready, and removes it. After errNoSnapshot its sandboxes can be
// started all the same.
func (s *snapshots) build(ctx context.Context, name string, p *runtime.Prepared) (saved string, err error) {
	err = s.pools.Try(ctx, name, func(ctx context.Context, id string, labels map[string]string) error {
		if _, err := s.engine.Start(ctx, id, p, labels); err != nil {
			return err
		}
		m, err := s.store.Create(ctx, checkpoint.Manifest{
			Sandbox: id, Template: name, Pool: poolName(s.region, name), Trigger: triggerTemplate, Fingerprint: p.Fingerprint(),
		}, func(ctx context.Context, dir string) (checkpoint.Fit, error) {
			return s.engine.Checkpoint(ctx, id, dir)
		})
		if err != nil {
			return fmt.Errorf("%w: %w", errNoSnapshot, err)
		}
		saved = m.ID
		s.log.Info("snapshot of template is made", "template", name, "checkpoint", m.ID, "bytes", m.Bytes)
		return nil
	})
	return saved, err
}

// drop deletes the snapshots that keep does not want.
func (s *snapshots) drop(keep func(checkpoint.Manifest) bool) {
	for _, m := range s.store.List() {
		if m.Trigger != triggerTemplate || keep(m) {
			continue
		}
		if err := s.store.Delete(m.ID); err != nil && !errdefs.IsNotFound(err) {
			s.log.Debug("snapshot could not be deleted; it is tried again", "checkpoint", m.ID, "err", err)
		}
	}
}

// keeps tells whether a snapshot is one that sandboxes go on from, or that a template may yet be found to have.
func (p *preparer) keeps(m checkpoint.Manifest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.templates[m.Template]
	switch {
	case t == nil:
		return false
	case t.busy || t.due || t.snapshot == m.ID:
		return true
	default:
		return false
	}
}

// restored notes how a restore from a template's snapshot went. After one that can never succeed, or too many, another is made;
// until then sandboxes are started.
func (p *preparer) restored(name, snapshot string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.templates[name]
	if t == nil || t.snapshot != snapshot {
		return
	}
	if err == nil {
		t.spoilt = 0
		return
	}
	t.spoilt++
	if hopeless := errdefs.IsFailedPrecondition(err) || errdefs.IsNotFound(err); !hopeless && t.spoilt < maxSpoilt || errors.Is(err, context.Canceled) {
		return
	}
	p.log.Warn("snapshot of template cannot be used; another is made", "template", name, "checkpoint", snapshot, "err", err)
	t.snapshot, t.bad, t.spoilt, t.due = "", snapshot, 0, true
	p.poke()
}
