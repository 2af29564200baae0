package pool

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/pool/label"
)

var errNoDoor = errors.New("there is no network")

// narrow has claims add to what their sandboxes have, and fail if that is nothing.
func narrow(by string) func(string) (string, error) {
	return func(has string) (string, error) {
		if has == "" {
			return "", errNoDoor
		}
		return has + by, nil
	}
}

func doorPool(network string) Config {
	cfg := onePool(1, 4)
	cfg.Source = build{fingerprint: "f1", network: network}
	return cfg
}

func TestClaimsJoinTheirNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		r := newRig(t, backend, doorPool("open"))
		r.run(t)
		time.Sleep(time.Second) // virtual: the pool is filled
		req := request()
		for _, c := range []struct {
			by   func(string) (string, error)
			want string
		}{{nil, "open"}, {narrow("+a"), "open+a"}} {
			req.Network = c.by
			claim, _, err := r.Claim(t.Context(), req)
			if err != nil || claim.Network != c.want || r.labelsOf(claim.Sandbox)[LabelNetwork] != c.want {
				t.Errorf("%+v, %v, label %q", claim, err, r.labelsOf(claim.Sandbox)[LabelNetwork])
			}
		}
		// What the template says now counts, also for a sandbox that waited before.
		r.Prepared("default", build{fingerprint: "f1", network: "tight"})
		req.Network = narrow("+b")
		if claim, _, err := r.Claim(t.Context(), req); err != nil || claim.Network != "tight+b" {
			t.Errorf("%+v, %v", claim, err)
		}
		r.stop()
	})
}

// TestNoLabelOfALongerNetworkIsLeft claims a sandbox whose template had more rules as it was started than it has now.
func TestNoLabelOfALongerNetworkIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), doorPool(strings.Repeat("x", 9000)))
		r.run(t)
		time.Sleep(time.Second) // virtual: the pool is filled
		r.Prepared("default", build{fingerprint: "f1", network: "short"})
		claim := r.claimOne(t)
		if got := label.Join(r.labelsOf(claim.Sandbox), LabelNetwork); got != "short" {
			t.Errorf("%d bytes are in the labels, not %q", len(got), "short")
		}
		r.stop()
	})
}

// A claim that no sandbox of the template can serve is refused before it takes one.
func TestAClaimForANetworkThatThereIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		generic := onePool(1, 4)
		generic.Name, generic.Template = "local:"+Generic, Generic
		empty := doorPool("open")
		empty.Template, empty.Name, empty.Size = "empty", "local:empty", Size{Max: 4, ScaleUp: 70}
		r := newRig(t, backend, onePool(1, 4), generic, empty)
		r.run(t)
		time.Sleep(time.Second) // virtual: the pool is filled
		req := request()
		req.Network = narrow("+a")
		_, _, err := r.Claim(t.Context(), req)
		time.Sleep(time.Second)
		if !errors.Is(err, errNoDoor) || r.Status()[0].Available != 1 {
			t.Errorf("%v; %+v", err, r.Status()[0])
		}
		req.Template, req.Fallback = "empty", true
		if claim, _, err := r.Claim(t.Context(), req); err != nil || claim.Tier == TierFallback || claim.Network != "open+a" {
			t.Errorf("it fell back to a sandbox without a network: %+v, %v", claim, err)
		}
		// A sandbox that was started without a network gets none by a reload.
		r.Prepared("default", build{fingerprint: "f1", network: "open"})
		if claim := r.claimOne(t); claim.Network != "" {
			t.Errorf("%+v", claim)
		}
		r.stop()
	})
}

func TestTheNetworkOfAClaimIsChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		r := newRig(t, backend, doorPool("open"))
		r.run(t)
		time.Sleep(time.Second) // virtual: the pool is filled
		claim := r.claimOne(t)
		change := func(to string) (Claim, error) {
			after, err := r.SetNetwork(t.Context(), claim.ID, func(has string) (string, error) {
				if to == "" {
					return "", errNoDoor
				}
				return to, nil
			})
			if err == nil && after.Network != to {
				t.Errorf("answered %q, not %q", after.Network, to)
			}
			return after, err
		}
		long := strings.Repeat("x", 9000)
		for _, to := range []string{long, long, "short", "short"} {
			if _, err := change(to); err != nil {
				t.Error(err)
			}
			if got := label.Join(r.labelsOf(claim.Sandbox), LabelNetwork); got != to {
				t.Errorf("%d bytes are in the labels, not %d", len(got), len(to))
			}
		}
		if _, err := change(""); !errors.Is(err, errNoDoor) || label.Join(r.labelsOf(claim.Sandbox), LabelNetwork) != "short" {
			t.Error(err)
		}
		again := newRig(t, backend, doorPool("open")) // another daemon
		if _, err := again.Reconcile(t.Context(), backend.list); err != nil {
			t.Fatal(err)
		}
		if kept, err := again.Get(claim.ID); err != nil || kept.Network != "short" {
			t.Errorf("%+v, %v", kept, err)
		}
		r.Died(claim.Sandbox, "no memory")
		if _, err := change("more"); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("of a dead claim: %v", err)
		}
		if _, err := r.SetNetwork(context.Background(), "c-none", nil); !errdefs.IsNotFound(err) {
			t.Error(err)
		}
		r.stop()
	})
}

// What goes on from a checkpoint runs before its claim is handed out: it has no more then than afterwards.
func TestARestoreStartsWithItsOwnNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		empty := doorPool("open")
		empty.Size = Size{Max: 4, ScaleUp: 70}
		r := newRig(t, backend, empty)
		started := ""
		backend.fail = func(call, id string) error {
			if call == "start" {
				started = backend.sandboxes[id].labels[LabelNetwork]
			}
			return nil
		}
		r.run(t)
		req := request()
		req.Checkpoint, req.Network = "ck-1", narrow("+saved")
		claim, _, err := r.Claim(t.Context(), req)
		if err != nil || started != "open+saved" || claim.Network != started {
			t.Errorf("started with %q, claimed %+v, %v", started, claim, err)
		}
		r.stop()
	})
}
