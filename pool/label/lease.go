package label

import (
	"fmt"
	"strconv"
	"time"

	"sandpool/lifetime"
)

// The labels of a claim's lease.
const (
	Expires    = Prefix + "expires-at"
	kind       = Prefix + "lifetime-type"
	lasting    = Prefix + "lifetime"
	warning    = Prefix + "warning"
	grace      = Prefix + "grace"
	extensions = Prefix + "extensions"
	extended   = Prefix + "extended"
	Stage      = Prefix + "stage"
)

// FormatLease writes a lease.
func FormatLease(l lifetime.Lease) map[string]string {
	return map[string]string{
		Expires:    FormatTime(l.ExpiresAt),
		kind:       l.Kind,
		lasting:    l.Type.Lifetime.String(),
		warning:    l.Type.Warning.String(),
		grace:      l.Type.Grace.String(),
		extensions: strconv.Itoa(l.Type.Extensions),
		extended:   strconv.Itoa(l.Extended),
		Stage:      string(l.Stage),
	}
}

// Lease reads a lease.
func Lease(labels map[string]string) (lifetime.Lease, error) {
	l := lifetime.Lease{Kind: labels[kind], Stage: lifetime.Stage(labels[Stage])}
	if l.Stage != lifetime.Steady && l.Stage != lifetime.Warned && l.Stage != lifetime.Grace {
		return lifetime.Lease{}, fmt.Errorf("label %s: unknown stage %q", Stage, l.Stage)
	}
	var err error
	if l.ExpiresAt, err = Time(labels, Expires); err != nil {
		return lifetime.Lease{}, err
	}
	for label, d := range map[string]*time.Duration{lasting: &l.Type.Lifetime, warning: &l.Type.Warning, grace: &l.Type.Grace} {
		if *d, err = time.ParseDuration(labels[label]); err != nil || *d < 0 {
			return lifetime.Lease{}, fmt.Errorf("label %s: %q is no duration", label, labels[label])
		}
	}
	for label, n := range map[string]*int{extensions: &l.Type.Extensions, extended: &l.Extended} {
		if *n, err = strconv.Atoi(labels[label]); err != nil || *n < 0 {
			return lifetime.Lease{}, fmt.Errorf("label %s: %q is no number", label, labels[label])
		}
	}
	return l, nil
}

// FirstLease reads the lease of a claim of the first version, which has an end and no more.
func FirstLease(labels map[string]string, claimed time.Time) (l lifetime.Lease, err error) {
	l.Stage = lifetime.Steady
	if l.ExpiresAt, err = Time(labels, Expires); err != nil {
		return lifetime.Lease{}, err
	}
	l.Type.Lifetime = l.ExpiresAt.Sub(claimed)
	return l, nil
}
