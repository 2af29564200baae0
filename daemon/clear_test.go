package daemon

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sandpool/configs"
	"sandpool/pool"
	"sandpool/runtime/checkpoint"
)

// fakeRetirer knows claims, and notes which of them were ended.
type fakeRetirer struct {
	retirer
	claims []pool.Claim
	ended  []string
}

func (f *fakeRetirer) Claims() []pool.Claim { return f.claims }
func (f *fakeRetirer) End(claim, _ string)  { f.ended = append(f.ended, claim) }
func (f *fakeRetirer) claim(c pool.Claim, id string) {
	c.ID = id
	f.claims = append(f.claims, c)
}

func openStore(t *testing.T) *checkpoint.Store {
	t.Helper()
	store, err := checkpoint.Open(t.TempDir(), checkpoint.Options{Log: slog.New(slog.DiscardHandler), Step: func(string) {}})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// save makes a checkpoint that was taken for a reason.
func save(t *testing.T, store *checkpoint.Store, trigger string) string {
	t.Helper()
	m, err := store.Create(t.Context(), checkpoint.Manifest{Trigger: trigger}, func(_ context.Context, dir string) (checkpoint.Fit, error) {
		return checkpoint.Fit{}, os.WriteFile(filepath.Join(dir, "image"), nil, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return m.ID
}

// TestClear is a start after the daemon was killed: what nobody will go on from is deleted, and the claims of a fork that was
// not answered are ended.
func TestClear(t *testing.T) {
	store := openStore(t)
	asked, fork := save(t, store, triggerRequest), save(t, store, triggerFork)
	wanted, unwanted := save(t, store, triggerIdle), save(t, store, triggerIdle)
	pools := &fakeRetirer{}
	pools.claim(pool.Claim{Rest: pool.Suspended, Saved: wanted}, "suspended")
	pools.claim(pool.Claim{Grant: pool.Grant{From: fork}}, "fork")
	pools.claim(pool.Claim{Grant: pool.Grant{From: asked}}, "restored")
	pools.claim(pool.Claim{Grant: pool.Grant{From: "ck-gone"}}, "answered fork")
	pools.claim(pool.Claim{}, "ordinary")

	(&checkpoints{store: store, pools: pools, log: slog.New(slog.DiscardHandler)}).clear()
	for id, want := range map[string]bool{asked: true, fork: false, wanted: true, unwanted: false} {
		if m, err := store.Get(id); (err == nil) != want {
			t.Errorf("checkpoint %+v: %v; want it kept: %t", m, err, want)
		}
	}
	if want := []string{"fork"}; !slices.Equal(pools.ended, want) {
		t.Errorf("claims %q were ended, want %q", pools.ended, want)
	}
}

// TestForget deletes what a claim was to be woken from, but not what is its user's by now.
func TestForget(t *testing.T) {
	c := &checkpoints{store: openStore(t), log: slog.New(slog.DiscardHandler)}
	idle, kept := save(t, c.store, triggerIdle), save(t, c.store, triggerIdle)
	if m, err := c.store.Retag(kept, triggerExpiry, ""); err != nil || m.Trigger != triggerExpiry {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{idle: false, kept: true, "ck-gone": false} {
		c.forget(id)
		if _, err := c.store.Get(id); (err == nil) != want {
			t.Errorf("checkpoint %s: %v; want it kept: %t", id, err, want)
		}
	}
}

// TestPruneKeepsSnapshots has a policy that keeps almost nothing: what sandboxes of templates go on from stays all the same.
func TestPruneKeepsSnapshots(t *testing.T) {
	tidied := false
	c := &checkpoints{
		store: openStore(t), pools: &fakeRetirer{}, log: slog.New(slog.DiscardHandler), tidy: func() { tidied = true },
		policy: func() configs.Checkpoints { return configs.Checkpoints{MaxCount: 1} },
	}
	snapshot, old, newest := save(t, c.store, triggerTemplate), save(t, c.store, triggerRequest), save(t, c.store, triggerRequest)
	c.prune()
	for id, want := range map[string]bool{snapshot: true, old: false, newest: true} {
		if _, err := c.store.Get(id); (err == nil) != want {
			t.Errorf("checkpoint %s: %v; want it kept: %t", id, err, want)
		}
	}
	if !tidied {
		t.Error("snapshots that nothing goes on from were not looked for")
	}
}
