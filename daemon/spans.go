package daemon

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"sandpool/pool"
	"sandpool/runtime/checkpoint"
)

// What spans say.
const (
	attrPool       = attribute.Key("sandpool.pool")
	attrTemplate   = attribute.Key("sandpool.template")
	attrSandbox    = attribute.Key("sandpool.sandbox")
	attrClaim      = attribute.Key("sandpool.claim")
	attrTier       = attribute.Key("sandpool.tier")
	attrResult     = attribute.Key("sandpool.result")
	attrCheckpoint = attribute.Key("sandpool.checkpoint")
	attrTrigger    = attribute.Key("sandpool.trigger")
)

// traceparent is the header, and the name in a carrier, by which a trace goes on elsewhere; see W3C Trace Context.
const traceparent = "traceparent"

// traced is a request in the trace that its client names, if it names one.
func traced(r *http.Request) *http.Request {
	if r.Header.Get(traceparent) == "" {
		return r
	}
	return r.WithContext(propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header)))
}

// traceOf names the part of a trace that ctx is in, for withTrace; empty if it is in none.
func traceOf(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[traceparent]
}

func withTrace(ctx context.Context, name string) context.Context {
	if name == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceparent: name})
}

// end ends a span. One with an error is a failed one.
func end(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// traceClaim begins the span of a claim. done must be called with what came of it.
func (a *api) traceClaim(ctx context.Context, req *pool.Request) (_ context.Context, done func(pool.Claim, bool, error)) {
	began := time.Now()
	ctx, span := a.tracer.Start(ctx, "claim", trace.WithTimestamp(began))
	req.Trace = traceOf(ctx)
	return ctx, func(claim pool.Claim, repeated bool, err error) {
		if !span.IsRecording() {
			return
		}
		waited := claim.ClaimedAt // when a sandbox was found, and the rest began
		if err != nil {
			waited = time.Now()
		}
		if !repeated {
			_, wait := a.tracer.Start(ctx, "wait for sandbox", trace.WithTimestamp(began))
			wait.End(trace.WithTimestamp(waited))
		}
		span.SetAttributes(
			attrTemplate.String(req.Template), attrPool.String(poolName(a.info.Region, req.Template)), attrResult.String(claimResult(repeated, err)))
		if err == nil {
			span.SetAttributes(attrClaim.String(claim.ID), attrTier.String(claim.Tier), attrSandbox.String(claim.Sandbox))
		}
		end(span, err)
	}
}

// traceStart begins the span of a start: of one for a claim in the claim's trace.
func (d *Daemon) traceStart(ctx context.Context, id string, from pool.Origin) (context.Context, func(error)) {
	name := "refill"
	switch {
	case from.Checkpoint != "":
		name = "restore"
	case from.Cold:
		name = "start"
	}
	ctx, span := d.tracer.Start(withTrace(ctx, from.Trace), name)
	if span.IsRecording() {
		span.SetAttributes(attrTemplate.String(from.Template), attrPool.String(poolName(d.Config.Region, from.Template)), attrSandbox.String(id))
		if from.Checkpoint != "" {
			span.SetAttributes(attrCheckpoint.String(from.Checkpoint))
		}
	}
	return ctx, func(err error) { end(span, err) }
}

// traceSave begins the span of a checkpoint. done must be called with what came of it.
func (c *checkpoints) traceSave(ctx context.Context, claim, trigger string) (_ context.Context, done func(checkpoint.Manifest, error)) {
	ctx, span := c.tracer.Start(ctx, "checkpoint")
	return ctx, func(m checkpoint.Manifest, err error) {
		if !span.IsRecording() {
			return
		}
		span.SetAttributes(attrClaim.String(claim), attrTrigger.String(trigger))
		if err == nil {
			span.SetAttributes(attrCheckpoint.String(m.ID), attrTemplate.String(m.Template), attrPool.String(m.Pool), attrSandbox.String(m.Sandbox))
		}
		end(span, err)
	}
}
