package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"sandpool/configs"
	"sandpool/lifetime"
	"sandpool/pool"
	"sandpool/pool/pooltest"
	"sandpool/runtime/checkpoint"
)

// runningID is the claim of most tests.
const runningID = "c-aaaaaaaaaaaaaaaa"

// climbing is an expiry over one claim, with a real store and a sandbox that only notes what is done to it.
type climbing struct {
	*expiry
	saver
	retirer
	claim   pool.Claim
	done    []string // what was done to the sandbox
	notices []notice
	saveErr error
}

func newClimbing(t *testing.T) *climbing {
	t.Helper()
	c := &climbing{claim: pooltest.Claim(runningID, "uid:0", pool.Claimed)}
	c.expiry = &expiry{sandboxes: c, claims: c, log: slog.New(slog.DiscardHandler), checkpoints: &checkpoints{
		restorer: &restorer{store: openStore(t), log: slog.New(slog.DiscardHandler)}, saver: c, pools: c,
		policy: func() configs.Checkpoints { return configs.Checkpoints{} },
		tracer: noop.NewTracerProvider().Tracer(""),
		told:   func(pool.Claim, checkpoint.Manifest, string, time.Duration, error) {}, tidy: func() {},
	}}
	return c
}

func (c *climbing) Checkpoint(_ context.Context, _, dir string) (checkpoint.Compatibility, error) {
	c.done = append(c.done, "save")
	return checkpoint.Compatibility{}, errors.Join(c.saveErr, os.WriteFile(filepath.Join(dir, "image"), nil, 0o600))
}

func (c *climbing) Tell(_ context.Context, _ string, line []byte) error {
	c.done = append(c.done, "tell")
	var n notice
	err := json.Unmarshal(line, &n)
	c.notices = append(c.notices, n)
	return err
}

func (c *climbing) Terminate(context.Context, string) error {
	c.done = append(c.done, "terminate")
	return nil
}

func (c *climbing) Get(string) (pool.Claim, error) { return c.claim, nil }

func (c *climbing) Claims() []pool.Claim { return []pool.Claim{c.claim} }

func (c *climbing) Use(context.Context, string) (pool.Claim, func(), error) {
	c.done = append(c.done, "use")
	return c.claim, func() {}, nil
}

func (c *climbing) expect(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(c.done, want) {
		t.Errorf("done: %v, want %v", c.done, want)
	}
	c.done = nil
}

// close does all that a close does.
func (c *climbing) close(t *testing.T) {
	t.Helper()
	if tell := c.Close(t.Context(), runningID, c.claim.Lease); tell != nil {
		tell(t.Context())
	}
}

// only returns the one checkpoint that there must be.
func (c *climbing) only(t *testing.T) checkpoint.Manifest {
	t.Helper()
	all := c.checkpoints.store.List()
	if len(all) != 1 {
		t.Fatalf("checkpoints %+v, want one", all)
	}
	return all[0]
}

func TestCloseSavesOnce(t *testing.T) {
	c := newClimbing(t)
	c.close(t)
	c.expect(t, "use", "save", "use", "tell", "terminate")
	saved := c.only(t)
	if n := c.notices[0]; saved.Trigger != checkpoint.TriggerExpiry || saved.Claim != runningID || n.Kind != pool.EventGrace || n.Checkpoint != saved.ID || n.Error != "" {
		t.Errorf("saved as %+v, told %+v", saved, n)
	}
	c.close(t) // as after a restart of the daemon
	c.expect(t, "use", "tell", "terminate")
	if again := c.only(t); again.ID != saved.ID || c.notices[1].Checkpoint != saved.ID {
		t.Errorf("saved again as %+v, told %+v", again, c.notices[1])
	}
}

// TestCloseOfWhatCannotBeSaved tells the sandbox why, and asks it to stop all the same.
func TestCloseOfWhatCannotBeSaved(t *testing.T) {
	c := newClimbing(t)
	c.saveErr = errors.New("disk on fire")
	c.close(t)
	c.expect(t, "use", "save", "use", "tell", "terminate")
	if n := c.notices[0]; n.Error == "" || n.Checkpoint != "" {
		t.Errorf("told %+v, want the error", n)
	}
}

// TestCloseOfASuspendedClaim keeps what it is on disk as, and wakes it for nothing.
func TestCloseOfASuspendedClaim(t *testing.T) {
	c := newClimbing(t)
	c.claim.Rest, c.claim.Saved = pool.Suspended, save(t, c.checkpoints.store, checkpoint.TriggerIdle)
	c.Warn(t.Context(), runningID, c.claim.Lease)
	c.close(t)
	c.expect(t)
	if kept := c.only(t); kept.ID != c.claim.Saved || kept.Trigger != checkpoint.TriggerExpiry {
		t.Errorf("kept %+v, want %s as one of its expiry", kept, c.claim.Saved)
	}
}

func TestWarnSaysWhatCanBeDone(t *testing.T) {
	c := newClimbing(t)
	now := time.Now()
	spent := lifetime.NewLease("cicd", lifetime.Type{Lifetime: time.Hour}, now)
	for _, test := range []struct {
		lease lifetime.Lease
		want  []string
	}{
		{lifetime.NewLease("development", lifetime.Type{Lifetime: time.Hour, Extensions: 1}, now), []string{"extend", "checkpoint", "release"}},
		{spent, []string{"checkpoint", "release"}},
	} {
		c.Warn(t.Context(), runningID, test.lease)
		n := c.notices[len(c.notices)-1]
		if n.Kind != pool.EventWarning || !n.ExpiresAt.Equal(test.lease.ExpiresAt) || !slices.Equal(n.Actions, test.want) {
			t.Errorf("told %+v, want actions %v", n, test.want)
		}
	}
	c.expect(t, "use", "tell", "use", "tell")
}
