package api

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"

	"sandpool/daemon/telemetry"
	"sandpool/daemon/wire"
	"sandpool/pool"
)

// traceClaim begins the span of a claim. done must be called with what came of it.
func (a *api) traceClaim(ctx context.Context, req *pool.Request) (_ context.Context, done func(pool.Claim, bool, error)) {
	began := time.Now()
	ctx, span := a.Tracer.Start(ctx, "claim", trace.WithTimestamp(began))
	req.Trace = telemetry.TraceOf(ctx)
	return ctx, func(claim pool.Claim, repeated bool, err error) {
		if !span.IsRecording() {
			return
		}
		waited := claim.ClaimedAt // when a sandbox was found, and the rest began
		if err != nil {
			waited = time.Now()
		}
		if !repeated {
			_, wait := a.Tracer.Start(ctx, "wait for sandbox", trace.WithTimestamp(began))
			wait.End(trace.WithTimestamp(waited))
		}
		span.SetAttributes(
			telemetry.AttrTemplate.String(req.Template), telemetry.AttrPool.String(wire.PoolName(a.Info.Region, req.Template)), telemetry.AttrResult.String(claimResult(repeated, err)))
		if err == nil {
			span.SetAttributes(telemetry.AttrClaim.String(claim.ID), telemetry.AttrTier.String(claim.Tier), telemetry.AttrSandbox.String(claim.Sandbox))
		}
		telemetry.End(span, err)
	}
}
