package telemetry

import (
	"context"
	"errors"
	"strconv"
	"time"

	"sandpool/pool"
	"sandpool/runtime"
)

// Claimed counts what came of a claim on a pool: granted, repeated or the code of the error. Names of pools that there are not are for
// the caller to leave out.
func (m *Metrics) Claimed(name string, claim pool.Claim, result string, took time.Duration) {
	m.claims.WithLabelValues(name, claim.Tier, result).Inc()
	if result == ResultGranted {
		observe(m.claimSeconds.WithLabelValues(claim.Tier), took, claim.ID)
		if claim.Phases != nil && claim.Tier == pool.TierCold {
			m.coldSeconds.WithLabelValues(claim.Template, "schedule").Observe(claim.Phases.Schedule.Seconds())
		}
	}
}

// Execed counts an exec in a claim's sandbox whose process ended.
func (m *Metrics) Execed(claim string, took time.Duration) { observe(m.execSeconds, took, claim) }

// Started counts a sandbox that became ready.
func (m *Metrics) Started(template string, how pool.Started) {
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

// Reconciled counts a comparison of the pools with containerd.
func (m *Metrics) Reconciled(trigger string, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.reconciles.WithLabelValues(trigger, result).Inc()
}

// Died counts a sandbox that ended by itself.
func (m *Metrics) Died(cause string) { m.deaths.WithLabelValues(cause).Inc() }

// Refused counts what somebody had too many of.
func (m *Metrics) Refused(kind string) { m.refusals.WithLabelValues(kind).Inc() }

// Happened counts an event.
func (m *Metrics) Happened(kind string) { m.events.WithLabelValues(kind).Inc() }

// Called counts a call of containerd or runsc.
func (m *Metrics) Called(call string, took time.Duration, err error) {
	result := "ok"
	switch {
	case errors.Is(err, context.Canceled):
		result = "canceled"
	case err != nil:
		result = "failed"
	}
	m.callSeconds.WithLabelValues(call, result).Observe(took.Seconds())
}

// Failed counts a template that cannot be made ready, or a sandbox of it that did not start. The error says at which step that was
// (see runtime.StepError); otherwise is the step when it does not.
func (m *Metrics) Failed(template, otherwise string, err error) {
	step := otherwise
	if at, ok := errors.AsType[*runtime.StepError](err); ok {
		step = at.Step
	}
	m.failedSteps.WithLabelValues(template, step).Inc()
}

// Saved counts an attempt to save a claim's sandbox.
func (m *Metrics) Saved(trigger string, took time.Duration, bytes int64, err error) {
	result := "saved"
	if err != nil {
		result = "failed"
	} else {
		m.saveBytes.Observe(float64(bytes))
	}
	m.saveSeconds.WithLabelValues(trigger, result).Observe(took.Seconds())
}

// Hooked counts what became of an event for a hook.
func (m *Metrics) Hooked(hook int, outcome string) {
	m.deliveries.WithLabelValues(strconv.Itoa(hook), outcome).Inc()
}
