package daemon

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"sandpool/daemon/telemetry"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime/checkpoint"
)

// traceStarts returns what begins the span of a start: of one for a claim in the claim's trace.
func traceStarts(tracer trace.Tracer, region string) pool.Starting {
	return func(ctx context.Context, id string, from pool.Origin) (context.Context, func(error)) {
		return traceStart(ctx, tracer, region, id, from)
	}
}

func traceStart(ctx context.Context, tracer trace.Tracer, region, id string, from pool.Origin) (context.Context, func(error)) {
	name := "refill"
	switch {
	case from.Checkpoint != "":
		name = "restore"
	case from.Cold:
		name = "start"
	}
	ctx, span := tracer.Start(telemetry.WithTrace(ctx, from.Trace), name)
	if span.IsRecording() {
		span.SetAttributes(telemetry.AttrTemplate.String(from.Template), telemetry.AttrPool.String(wire.PoolName(region, from.Template)), telemetry.AttrSandbox.String(id))
		if from.Checkpoint != "" {
			span.SetAttributes(telemetry.AttrCheckpoint.String(from.Checkpoint))
		}
	}
	return ctx, func(err error) { telemetry.End(span, err) }
}

// traceSave begins the span of a checkpoint. done must be called with what came of it.
func (c *checkpoints) traceSave(ctx context.Context, claim, trigger string) (_ context.Context, done func(checkpoint.Manifest, error)) {
	ctx, span := c.tracer.Start(ctx, "checkpoint")
	return ctx, func(m checkpoint.Manifest, err error) {
		if !span.IsRecording() {
			return
		}
		span.SetAttributes(telemetry.AttrClaim.String(claim), telemetry.AttrTrigger.String(trigger))
		if err == nil {
			span.SetAttributes(telemetry.AttrCheckpoint.String(m.ID), telemetry.AttrTemplate.String(m.Template), telemetry.AttrPool.String(m.Pool), telemetry.AttrSandbox.String(m.Sandbox))
		}
		telemetry.End(span, err)
	}
}
