package pool

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/lifetime"
	"sandpool/pool/label"
)

func record(state State) Record {
	r := Record{State: state, Pool: "local:default", Fingerprint: "f1", CreatedAt: time.Now()}
	if state == Claimed || state == Dead {
		r.Grant = Grant{
			ID: "c-1", Owner: "uid:0", RequestID: "r1", Tier: TierPaused, From: "ck-1", Given: Secrets, Metadata: `{"k":"v"}`, ClaimedAt: time.Now(),
			Lease: lifetime.NewLease("test", lifetime.Type{Lifetime: time.Hour, Warning: time.Minute, Grace: time.Second, Extensions: 2}, time.Now()),
		}
	}
	return r
}

func TestRecordSurvivesItsLabels(t *testing.T) {
	for _, state := range []State{Warming, Available, Claimed, Dead, Terminating} {
		want := record(state)
		want.CreatedAt = want.CreatedAt.UTC().Round(0)
		want.Grant.ClaimedAt, want.Grant.Lease.ExpiresAt = want.Grant.ClaimedAt.UTC().Round(0), want.Grant.Lease.ExpiresAt.UTC().Round(0)
		if state == Claimed {
			want.Rest, want.Saved, want.Grant.Lease.Stage, want.Grant.Lease.Extended = Suspended, "ck-2", lifetime.Warned, 1
		}
		if state == Dead {
			want.Reason = "killed"
		}
		got, err := ParseRecord(want.Labels())
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", state, got, err, want)
		}
	}
}

// FuzzParseRecord reads labels, one a line as KEY=VALUE.
func FuzzParseRecord(f *testing.F) {
	for _, state := range []State{Warming, Claimed} {
		var lines strings.Builder
		for key, value := range record(state).Labels() {
			lines.WriteString(key + "=" + value + "\n")
		}
		f.Add(lines.String())
	}
	f.Fuzz(func(t *testing.T, lines string) {
		labels := map[string]string{}
		for line := range strings.Lines(lines) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			labels[key] = value
		}
		r, err := ParseRecord(labels)
		if err != nil {
			return
		}
		if (r.State == Claimed || r.State == Dead) && r.Grant.ID == "" {
			t.Errorf("state %q without a claim", r.State)
		}
		again, err := ParseRecord(r.Labels())
		if err != nil {
			t.Errorf("what was read cannot be written and read again: %v", err)
		}
		if again.Grant.Lease.Type != r.Grant.Lease.Type || !again.Grant.Lease.ExpiresAt.Equal(r.Grant.Lease.ExpiresAt) {
			t.Errorf("lease %+v became %+v", r.Grant.Lease, again.Grant.Lease)
		}
		for key, value := range r.Labels() {
			if len(key)+len(value) > 4096 && key == LabelReason {
				t.Errorf("label %s is over containerd's limit", key)
			}
		}
	})
}

// TestClaimOfVersion1 reads what a daemon wrote that knew no leases.
func TestClaimOfVersion1(t *testing.T) {
	labels := record(Claimed).Labels()
	old := map[string]string{LabelVersion: "1"}
	for _, key := range []string{LabelState, LabelPool, LabelFingerprint, LabelCreated, LabelClaim, LabelOwner, LabelRequest, LabelTier, LabelTemplate, LabelClaimed, label.Expires} {
		old[key] = labels[key]
	}
	r, err := ParseRecord(old)
	if err != nil || r.Grant.ID != "c-1" || r.Grant.Lease.Stage != lifetime.Steady || label.FormatTime(r.Grant.Lease.ExpiresAt) != labels[label.Expires] {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestNewerLabels refuses to touch what a later daemon made.
func TestNewerLabels(t *testing.T) {
	backend := newFakeBackend(t)
	r := newRig(t, backend, onePool(1, 1))
	labels := record(Claimed).Labels()
	labels[LabelVersion] = "3"
	backend.sandboxes["sb-1"] = &fakeSandbox{labels: labels, status: Running}
	if _, err := r.Reconcile(t.Context(), backend.list); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("error %v, want one of class FailedPrecondition", err)
	}
	if r.Knows("sb-1") {
		t.Error("the sandbox was taken")
	}
}

func TestAdoption(t *testing.T) {
	with := func(r Record, change func(*Record)) Record { change(&r); return r }
	foreign := map[string]string{"com.example": "x"}
	tests := []struct {
		name   string
		labels map[string]string
		status Status
		want   Report

		promised bool
	}{
		{"warm and paused", record(Available).Labels(), Paused, Report{Warm: 1}, false},
		{"warm but running", record(Available).Labels(), Running, Report{Terminating: 1}, false},
		{"warm but stopped", record(Available).Labels(), Stopped, Report{Terminating: 1}, false},
		{"warm of another build", with(record(Available), func(r *Record) { r.Fingerprint = "f0" }).Labels(), Paused, Report{Terminating: 1}, false},
		{"warm of an unknown pool", with(record(Available), func(r *Record) { r.Pool = "local:gone" }).Labels(), Paused, Report{Terminating: 1}, false},
		{"warm of another region", with(record(Available), func(r *Record) { r.Pool = "mars:default" }).Labels(), Paused, Report{Terminating: 1}, false},
		{"half started", record(Warming).Labels(), Running, Report{Terminating: 1}, false},
		{"claimed and running", record(Claimed).Labels(), Running, Report{Claims: 1}, false},
		{"claimed of another build", with(record(Claimed), func(r *Record) { r.Fingerprint = "f0" }).Labels(), Running, Report{Claims: 1}, false},
		{"claimed of an unknown pool", with(record(Claimed), func(r *Record) { r.Pool = "local:gone" }).Labels(), Running, Report{Claims: 1}, false},
		{"claimed, never answered, not resumed", record(Claimed).Labels(), Paused, Report{Terminating: 1}, true},
		{"claimed, never answered, running", record(Claimed).Labels(), Running, Report{Terminating: 1}, true},
		{"claimed, never answered, ended", record(Claimed).Labels(), Stopped, Report{Dead: 1}, true},
		{"claimed, and paused by another program", record(Claimed).Labels(), Paused, Report{Claims: 1}, false},
		{"claimed and asleep", with(record(Claimed), func(r *Record) { r.Rest = IdlePaused }).Labels(), Paused, Report{Claims: 1}, false},
		{"claimed, asleep and resumed by another program", with(record(Claimed), func(r *Record) { r.Rest = IdlePaused }).Labels(), Running, Report{Claims: 1}, false},
		{"claimed, ended meanwhile", record(Claimed).Labels(), Stopped, Report{Dead: 1}, false},
		{"warm, promised and not labelled yet", record(Available).Labels(), Paused, Report{Terminating: 1}, true},
		{"dead", with(record(Dead), func(r *Record) { r.Reason = "killed" }).Labels(), Stopped, Report{Dead: 1}, false},
		{"doomed", record(Terminating).Labels(), Running, Report{Terminating: 1}, false},
		{"garbled", map[string]string{LabelState: "?"}, Running, Report{Terminating: 1}, false},
		{"foreign", foreign, Running, Report{Foreign: 1}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := newFakeBackend(t)
				r := newRig(t, backend, onePool(1, 4))
				backend.sandboxes["sb-old"] = &fakeSandbox{labels: maps.Clone(test.labels), status: test.status, promised: test.promised}
				got, err := r.Reconcile(t.Context(), backend.list)
				if err != nil || got != test.want {
					t.Fatalf("report %+v, %v; want %+v", got, err, test.want)
				}
				again, err := r.Reconcile(t.Context(), backend.list)
				if want := (Report{Foreign: test.want.Foreign}); err != nil || again != want {
					t.Errorf("second report %+v, %v; want %+v", again, err, want)
				}
				r.run(t)
				settled()
				if _, left := backend.sandboxes["sb-old"]; left == (test.want.Terminating > 0) {
					t.Errorf("it is left: %v", left)
				}
				if s := r.Status()[0]; s.Total != 1 {
					t.Errorf("status %+v, want one sandbox in all", s)
				}
				if test.want.Claims+test.want.Dead > 0 {
					claim, err := r.Get("c-1")
					if err != nil || claim.RequestID != "r1" || claim.Sandbox != "sb-old" || r.deadlines.at["c-1"].IsZero() {
						t.Errorf("claim %+v, %v; want it back with its deadline", claim, err)
					}
					if claim.State == Dead && claim.Reason == "" {
						t.Error("dead without a reason")
					}
				}
				r.stop()
			})
		})
	}
}

// TestReconcileNoticesWhatEndedUnseen ends sandboxes without an event.
func TestReconcileNoticesWhatEndedUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), onePool(2, 8))
		r.run(t)
		settled()
		claim := r.claimOne(t)
		settled()
		found, _ := r.backend.list(t.Context())
		for _, f := range found {
			r.backend.end(f.ID)
		}
		report, err := r.Reconcile(t.Context(), r.backend.list)
		if want := (Report{Dead: 1, Terminating: 1}); err != nil || report != want {
			t.Errorf("report %+v, %v; want %+v", report, err, want)
		}
		settled()
		if dead, err := r.Get(claim.ID); err != nil || dead.State != Dead {
			t.Errorf("claim %+v, %v; want it dead", dead, err)
		}
		if s := r.Status()[0]; s.Available != 2 {
			t.Errorf("status %+v, want the pool full again", s)
		}
		r.stop()
	})
}

// TestReconcileLeavesAloneWhatMoves lists while claims, starts and releases are under way.
func TestReconcileLeavesAloneWhatMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), onePool(4, 16))
		r.run(t)
		slowList := func(ctx context.Context) ([]Found, error) {
			found, err := r.backend.list(ctx)
			time.Sleep(7 * time.Millisecond) // the answer is old when it arrives
			return found, err
		}
		for range 200 {
			claim := r.claimOne(t)
			go func() { _ = r.Release(context.WithoutCancel(t.Context()), claim.ID) }()
			report, err := r.Reconcile(t.Context(), slowList)
			if want := (Report{}); err != nil || report != want {
				t.Fatalf("report %+v, %v; want nothing to mend", report, err)
			}
		}
		settled()
		if s := r.Status()[0]; s.Available != 4 || s.Total != 4 || len(r.backend.sandboxes) != 4 {
			t.Errorf("status %+v, %d sandboxes; want 4", s, len(r.backend.sandboxes))
		}
		r.stop()
	})
}

func TestStopBreaksOffStartsAndCleansUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), onePool(4, 8))
		r.run(t)
		time.Sleep(400 * time.Millisecond) // two are ready, two are being started
		r.stop()
		found, err := r.backend.list(t.Context())
		if err != nil || len(found) != 2 {
			t.Fatalf("%d sandboxes are left, %v; want the two that were ready", len(found), err)
		}
		for _, f := range found {
			if f.Status != Paused {
				t.Errorf("%s is %s", f.ID, f.Status)
			}
		}
		r.RemoveAll(t.Context())
		if n := len(r.backend.sandboxes); n != 0 {
			t.Errorf("%d sandboxes are left after RemoveAll", n)
		}
	})
}

func TestMovesAreChecked(t *testing.T) {
	all := []State{Warming, Available, Reserved, Claimed, Dead, Terminating}
	legal := 0
	for _, from := range all {
		for _, to := range all {
			if mayBecome(from, to) {
				legal++
			}
		}
		if from != Terminating && !mayBecome(from, Terminating) {
			t.Errorf("%s cannot be doomed", from)
		}
		if mayBecome(Terminating, from) || mayBecome(from, from) {
			t.Errorf("%s: a doomed sandbox came back, or a move went nowhere", from)
		}
	}
	if legal != 12 {
		t.Errorf("%d legal moves, want 12", legal)
	}
}

func TestAdoptionKeepsClaimsBeforeReadyOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		r := newRig(t, backend, onePool(2, 3))
		for i := range 3 {
			claimed := record(Claimed)
			claimed.Grant.ID, claimed.Grant.RequestID = fmt.Sprintf("c-%d", i), ""
			backend.sandboxes[fmt.Sprintf("sb-claimed-%d", i)] = &fakeSandbox{labels: claimed.Labels(), status: Running}
			backend.sandboxes[fmt.Sprintf("sb-warm-%d", i)] = &fakeSandbox{labels: record(Available).Labels(), status: Paused}
		}
		report, err := r.Reconcile(t.Context(), backend.list)
		if want := (Report{Claims: 3, Terminating: 3}); err != nil || report != want {
			t.Errorf("report %+v, %v; want %+v", report, err, want)
		}
	})
}
