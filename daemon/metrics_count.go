package daemon

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/pool"
	"sandpool/runtime"
)

// claimed counts a claim on a pool.
func (m *metrics) claimed(name string, claim pool.Claim, repeated bool, err error, took time.Duration) {
	if errdefs.IsNotFound(err) { // there is no such pool; names that clients make up are no labels
		name = ""
	}
	result, tier := claimResult(repeated, err), claim.Tier
	if err != nil {
		tier = ""
	}
	m.claims.WithLabelValues(name, tier, result).Inc()
	if result == resultGranted {
		observe(m.claimSeconds.WithLabelValues(claim.Tier), took, claim.ID)
		if claim.Phases != nil && claim.Tier == pool.TierCold {
			m.coldSeconds.WithLabelValues(claim.Template, "schedule").Observe(claim.Phases.Schedule.Seconds())
		}
	}
}

// claimResult is what came of a claim: granted, repeated or the code of the error.
func claimResult(repeated bool, err error) string {
	switch {
	case err != nil:
		return describe(err).Code
	case repeated:
		return resultRepeated
	default:
		return resultGranted
	}
}

// execed counts an exec in a claim's sandbox whose process ended.
func (m *metrics) execed(claim string, took time.Duration) { observe(m.execSeconds, took, claim) }

// started counts a sandbox that became ready.
func (m *metrics) started(template string, how pool.Started) {
	histogram := m.coldSeconds
	if how.Restored {
		histogram = m.warmSeconds
	}
	p := how.Phases
	for phase, took := range map[string]time.Duration{
		"image": p.Image, "sentry": p.Sentry, "user_space": p.UserSpace, "dependencies": p.Dependencies, "ready": p.Ready,
		"total": p.Image + p.Sentry + p.UserSpace + p.Dependencies + p.Ready,
	} {
		histogram.WithLabelValues(template, phase).Observe(took.Seconds())
	}
}

// reconciled counts a comparison of the pools with containerd.
func (m *metrics) reconciled(trigger string, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.reconciles.WithLabelValues(trigger, result).Inc()
}

// died counts a sandbox that ended by itself.
func (m *metrics) died(cause string) { m.deaths.WithLabelValues(cause).Inc() }

// refused counts what somebody had too many of.
func (m *metrics) refused(kind string) { m.refusals.WithLabelValues(kind).Inc() }

// happened counts an event.
func (m *metrics) happened(kind string) { m.events.WithLabelValues(kind).Inc() }

// called counts a call of containerd or runsc.
func (m *metrics) called(call string, took time.Duration, err error) {
	result := "ok"
	switch {
	case errors.Is(err, context.Canceled):
		result = "canceled"
	case err != nil:
		result = "failed"
	}
	m.callSeconds.WithLabelValues(call, result).Observe(took.Seconds())
}

// The steps that only this package knows; see runtime.StepError for the others.
const (
	stepSnapshot = "snapshot" // of a template is made
	stepRestore  = "restore"
)

// failed counts a template that cannot be made ready, or a sandbox of it that did not start.
func (m *metrics) failed(template, otherwise string, err error) {
	step := otherwise
	if at, ok := errors.AsType[*runtime.StepError](err); ok {
		step = at.Step
	}
	m.failedSteps.WithLabelValues(template, step).Inc()
}

// saved counts an attempt to save a claim's sandbox.
func (m *metrics) saved(trigger string, took time.Duration, bytes int64, err error) {
	result := "saved"
	if err != nil {
		result = "failed"
	} else {
		m.saveBytes.Observe(float64(bytes))
	}
	m.saveSeconds.WithLabelValues(trigger, result).Observe(took.Seconds())
}

// hooked counts what became of an event for a hook.
func (m *metrics) hooked(hook int, outcome string) {
	m.deliveries.WithLabelValues(strconv.Itoa(hook), outcome).Inc()
}
