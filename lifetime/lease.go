package lifetime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
)

// Type is a kind of lifetime: how long a claim lives and how its end comes. All times are counted back from the end.
type Type struct {
	Lifetime   time.Duration // from the hand-out to the end
	Warning    time.Duration // when the owner is told; 0: never
	Grace      time.Duration // when the sandbox is checkpointed and told to stop; 0: it is killed without
	Extensions int           // how often the end may be put off by half of Lifetime
}

// Validate reports every fault of a type at once; the error is of class InvalidArgument.
func (t Type) Validate() error {
	var errs []error
	check := func(ok bool, text string) {
		if !ok {
			errs = append(errs, errors.New(text))
		}
	}
	check(t.Lifetime > 0, "lifetime must be more than 0")
	check(t.Warning >= 0 && t.Warning < max(t.Lifetime, 1), "warning must not be negative and must be shorter than lifetime")
	check(t.Grace >= 0 && t.Grace < max(t.Lifetime, 1), "grace must not be negative and must be shorter than lifetime")
	check(t.Warning == 0 || t.Warning >= t.Grace, "warning must not be shorter than grace")
	check(t.Extensions >= 0, "extensions must not be negative")
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", errors.Join(errs...), errdefs.ErrInvalidArgument)
}

// Within is t for a claim that lives for d instead. Its warning comes after half of that at the earliest, its grace period after
// three quarters.
func (t Type) Within(d time.Duration) Type {
	t.Lifetime, t.Warning, t.Grace = d, min(t.Warning, d/2), min(t.Grace, d/4)
	return t
}

// Stage is how far a claim has come on the ladder to its end.
type Stage string

// The stages, in their order.
const (
	Steady Stage = "steady" // its owner was told nothing
	Warned Stage = "warned"
	Grace  Stage = "grace" // it is being checkpointed and stopped; it cannot be extended any more
	Over   Stage = "over"  // it is to be killed
)

// Lease is one claim's time: its type as it was at the hand-out, and what has come of it since.
type Lease struct {
	Kind      string // name of the type
	Type      Type
	ExpiresAt time.Time
	Extended  int // extensions used
	Stage     Stage
}

// NewLease begins a lease.
func NewLease(kind string, t Type, now time.Time) Lease {
	return Lease{Kind: kind, Type: t, ExpiresAt: now.Round(0).Add(t.Lifetime), Stage: Steady}
}

// Next returns the stage after the present one, and when it is due.
func (l Lease) Next() (Stage, time.Time) {
	switch {
	case l.Stage == Steady && l.Type.Warning > l.Type.Grace:
		return Warned, l.ExpiresAt.Add(-l.Type.Warning)
	case (l.Stage == Steady || l.Stage == Warned) && l.Type.Grace > 0:
		return Grace, l.ExpiresAt.Add(-l.Type.Grace)
	default:
		return Over, l.ExpiresAt
	}
}

// Extend puts the end off by a duration of at most half of the type's lifetime, which 0 stands for. The claim is warned again before
// its new end. The error says why it cannot be; it is of class InvalidArgument for a longer one, and else of FailedPrecondition.
func (l Lease) Extend(now time.Time, by time.Duration) (Lease, error) {
	refuse := func(format string, args ...any) (Lease, error) {
		return l, fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errdefs.ErrFailedPrecondition)
	}
	switch {
	case l.Type.Extensions == 0:
		return refuse("lifetime type %q allows no extension", l.Kind)
	case l.Extended >= l.Type.Extensions:
		return refuse("all %d extensions of lifetime type %q are used", l.Type.Extensions, l.Kind)
	case !now.Before(l.ExpiresAt):
		return refuse("its time is over since %s", l.ExpiresAt.UTC().Format(time.RFC3339))
	case l.Stage == Grace || l.Stage == Over:
		return refuse("its grace period has begun and it is being stopped; claim its checkpoint instead")
	case by > l.Type.Lifetime/2:
		return l, fmt.Errorf("by %s: want at most %s, half of its lifetime: %w", Duration(by), Duration(l.Type.Lifetime/2), errdefs.ErrInvalidArgument)
	}
	l.ExpiresAt = l.ExpiresAt.Add(cmp.Or(by, l.Type.Lifetime/2))
	l.Extended++
	l.Stage = Steady
	return l, nil
}

// Claims is what a Warden asks of those who own the claims.
type Claims interface {
	// Lease returns how a claim's time stands; false when the claim has ended.
	Lease(claim string) (Lease, bool)
	// Advance notes durably that a claim came to a stage, unless its lease is no longer as seen: then false.
	Advance(ctx context.Context, claim string, seen Lease, to Stage) (bool, error)
	// Expire ends a claim and has it killed, unless it was extended meanwhile. It does not block.
	Expire(claim string)
}
