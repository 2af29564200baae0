package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sandpool/configs"
	"sandpool/daemon/api"
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
	return saveOf(t, store, trigger, "", "")
}

func saveOf(t *testing.T, store *checkpoint.Store, trigger, claim, owner string) string {
	t.Helper()
	m, err := store.Create(t.Context(), checkpoint.Manifest{Trigger: trigger, Claim: claim, Owner: owner}, func(_ context.Context, dir string) (checkpoint.Compatibility, error) {
		return checkpoint.Compatibility{}, os.WriteFile(filepath.Join(dir, "image"), nil, 0o600)
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
	asked, fork := save(t, store, checkpoint.TriggerRequest), save(t, store, checkpoint.TriggerFork)
	wanted, unwanted := save(t, store, checkpoint.TriggerIdle), save(t, store, checkpoint.TriggerIdle)
	pools := &fakeRetirer{}
	pools.claim(pool.Claim{Rest: pool.Suspended, Saved: wanted}, "suspended")
	pools.claim(pool.Claim{Grant: pool.Grant{From: fork}}, "fork")
	pools.claim(pool.Claim{Grant: pool.Grant{From: asked}}, "restored")
	pools.claim(pool.Claim{Grant: pool.Grant{From: "ck-gone"}}, "answered fork")
	pools.claim(pool.Claim{}, "ordinary")

	(&checkpoints{restorer: &restorer{store: store, log: slog.New(slog.DiscardHandler)}, pools: pools}).clear()
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
	c := &restorer{store: openStore(t), log: slog.New(slog.DiscardHandler)}
	idle, kept := save(t, c.store, checkpoint.TriggerIdle), save(t, c.store, checkpoint.TriggerIdle)
	if m, err := c.store.Retag(kept, checkpoint.TriggerExpiry, "", ""); err != nil || m.Trigger != checkpoint.TriggerExpiry {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{idle: false, kept: true, "ck-gone": false} {
		c.forget(id)
		if _, err := c.store.Get(id); (err == nil) != want {
			t.Errorf("checkpoint %s: %v; want it kept: %t", id, err, want)
		}
	}
}

// pruner is checkpoints with bounds, and what it told of those it deleted.
func pruner(t *testing.T, bounds configs.Checkpoints, pools *fakeRetirer) (c *checkpoints, told *[]string) {
	t.Helper()
	told = &[]string{}
	return &checkpoints{
		restorer: &restorer{store: openStore(t), log: slog.New(slog.DiscardHandler)}, pools: pools, tidy: func() {},
		policy: func() configs.Checkpoints { return bounds },
		pruned: func(p checkpoint.Pruned) {
			e := ofPruned(p).event(time.Now())
			*told = append(*told, e.Kind+" "+e.Owner+" "+e.Detail["checkpoint"]+" "+e.Detail["reason"])
		},
	}, told
}

// TestPruneKeepsSnapshots has a policy that keeps almost nothing: what sandboxes of templates, suspended claims and forks go on from
// stays all the same, also before its claim says so.
func TestPruneKeepsSnapshots(t *testing.T) {
	pools := &fakeRetirer{}
	c, _ := pruner(t, configs.Checkpoints{MaxCount: 5}, pools)
	tidied := false
	c.tidy = func() { tidied = true }
	snapshot, fork, idle := save(t, c.store, checkpoint.TriggerTemplate), save(t, c.store, checkpoint.TriggerFork), save(t, c.store, checkpoint.TriggerIdle)
	pools.claim(pool.Claim{Rest: pool.Suspended, Saved: idle}, "c-suspended")
	saving, left := saveOf(t, c.store, checkpoint.TriggerIdle, "c-saving", ""), saveOf(t, c.store, checkpoint.TriggerIdle, "c-ended", "")
	pools.claim(pool.Claim{}, "c-saving")
	old, newest := save(t, c.store, checkpoint.TriggerRequest), save(t, c.store, checkpoint.TriggerRequest)
	c.prune()
	for id, want := range map[string]bool{snapshot: true, fork: true, idle: true, saving: true, left: false, old: false, newest: true} {
		if _, err := c.store.Get(id); (err == nil) != want {
			t.Errorf("checkpoint %s: %v; want it kept: %t", id, err, want)
		}
	}
	if !tidied {
		t.Error("snapshots that nothing goes on from were not looked for")
	}
}

// TestPruneTellsOwners has one user take more than there is room for: its own go, and it is told.
func TestPruneTellsOwners(t *testing.T) {
	c, told := pruner(t, configs.Checkpoints{MaxCount: 3}, &fakeRetirer{})
	victim := saveOf(t, c.store, checkpoint.TriggerRequest, "c-1", "uid:1235")
	var mine []string
	for range 4 {
		id := saveOf(t, c.store, checkpoint.TriggerRequest, "c-2", "uid:1234")
		if err := c.fit(checkpoint.Manifest{ID: id}); err != nil {
			t.Fatal(err)
		}
		mine = append(mine, id)
	}
	want := []string{"checkpoint_deleted uid:1234 " + mine[0] + " total", "checkpoint_deleted uid:1234 " + mine[1] + " total"}
	if !slices.Equal(*told, want) {
		t.Errorf("told %q, want %q", *told, want)
	}
	if _, err := c.store.Get(victim); err != nil {
		t.Errorf("another user's checkpoint: %v", err)
	}
}

// TestNoRoomForACheckpoint refuses one that could only be kept in place of others that must stay: it leaves nothing behind.
func TestNoRoomForACheckpoint(t *testing.T) {
	pools := &fakeRetirer{}
	c, told := pruner(t, configs.Checkpoints{MaxCountPerUser: 1}, pools)
	saved := saveOf(t, c.store, checkpoint.TriggerIdle, "c-1", "uid:1234")
	pools.claim(pool.Claim{Rest: pool.Suspended, Saved: saved}, "c-1")
	pools.claim(pool.Claim{}, "c-2")
	for _, trigger := range []string{checkpoint.TriggerRequest, checkpoint.TriggerIdle, checkpoint.TriggerFork} {
		id := saveOf(t, c.store, trigger, "c-2", "uid:1234")
		err := c.fit(checkpoint.Manifest{ID: id, Bytes: 3 << 20})
		if err == nil || !errors.Is(err, api.ErrNoRoom) || !strings.Contains(err.Error(), "3 MiB") {
			t.Errorf("%s: error %v", trigger, err)
		}
		if left := c.store.List(); len(left) != 1 || left[0].ID != saved {
			t.Errorf("%s: left are %+v", trigger, left)
		}
	}
	if len(*told) > 0 {
		t.Errorf("told %q of what never was", *told)
	}
}
