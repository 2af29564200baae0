package telemetry

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// What spans say.
const (
	AttrPool       = attribute.Key("sandpool.pool")
	AttrTemplate   = attribute.Key("sandpool.template")
	AttrSandbox    = attribute.Key("sandpool.sandbox")
	AttrClaim      = attribute.Key("sandpool.claim")
	AttrTier       = attribute.Key("sandpool.tier")
	AttrResult     = attribute.Key("sandpool.result")
	AttrCheckpoint = attribute.Key("sandpool.checkpoint")
	AttrTrigger    = attribute.Key("sandpool.trigger")
)

// traceparent is the header, and the name in a carrier, by which a trace goes on elsewhere; see W3C Trace Context.
const traceparent = "traceparent"

// Traced is a request in the trace that its client names, if it names one.
func Traced(r *http.Request) *http.Request {
	if r.Header.Get(traceparent) == "" {
		return r
	}
	return r.WithContext(propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header)))
}

// TraceOf names the part of a trace that ctx is in, for WithTrace; empty if it is in none.
func TraceOf(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[traceparent]
}

// WithTrace puts ctx in the part of a trace that TraceOf has named.
func WithTrace(ctx context.Context, name string) context.Context {
	if name == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceparent: name})
}

// End ends a span. One with an error is a failed one.
func End(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}
