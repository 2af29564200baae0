package templates

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/runtime"
	"sandpool/runtime/checkpoint"
)

// trialRunner is what snapshots need of the pools.
type trialRunner interface {
	Try(ctx context.Context, template, network string, use func(ctx context.Context, id string, labels map[string]string) error) error
}

// starter is what snapshots need of the runtime.
type starter interface {
	Start(ctx context.Context, id string, p *runtime.Prepared, labels map[string]string) (runtime.Phases, error)
	Checkpoint(ctx context.Context, id, dir string) (checkpoint.Compatibility, error)
}

// snapshots makes the checkpoints that sandboxes of warm templates go on from.
type snapshots struct {
	store  *checkpoint.Store
	pools  trialRunner
	engine starter
	region string
	log    *slog.Logger
}

// of returns the snapshot of a template. One that was made before, and is not bad, is used if all that it was made from is the same.
func (s *snapshots) of(ctx context.Context, name, rules string, p *runtime.Prepared, bad string) (string, error) {
	for _, m := range s.store.List() {
		if m.Trigger == checkpoint.TriggerTemplate && m.Template == name && m.Fingerprint == p.Fingerprint() && m.ID != bad {
			return m.ID, nil
		}
	}
	return s.build(ctx, name, rules, p)
}

// build starts one sandbox of a template, saves it once it is ready, and removes it. After errNoSnapshot its sandboxes can be
// started all the same.
func (s *snapshots) build(ctx context.Context, name, rules string, p *runtime.Prepared) (saved string, err error) {
	err = s.pools.Try(ctx, name, rules, func(ctx context.Context, id string, labels map[string]string) error {
		if _, err := s.engine.Start(ctx, id, p, labels); err != nil {
			return err
		}
		m, err := s.store.Create(ctx, checkpoint.Manifest{
			Sandbox: id, Template: name, Pool: wire.PoolName(s.region, name), Trigger: checkpoint.TriggerTemplate, Fingerprint: p.Fingerprint(),
		}, func(ctx context.Context, dir string) (checkpoint.Compatibility, error) {
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
		if m.Trigger != checkpoint.TriggerTemplate || keep(m) {
			continue
		}
		if err := s.store.Delete(m.ID); err != nil && !errdefs.IsNotFound(err) {
			s.log.Debug("snapshot could not be deleted; it is tried again", "checkpoint", m.ID, "err", err)
		}
	}
}

// keeps tells whether a snapshot is one that sandboxes go on from, or that a template may yet be found to have.
func (p *Preparer) keeps(m checkpoint.Manifest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.templates[m.Template]
	switch {
	case t == nil:
		return false
	case t.busy || t.due || t.inUse != nil && t.inUse.snapshot == m.ID:
		return true
	default:
		return false
	}
}
