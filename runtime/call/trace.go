package call

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// tracer makes spans in the trace that ctx has a part in, if it is one that is kept. Others begin none here: most calls are
// looks at how things are.
func tracer(ctx context.Context) (_ trace.Tracer, kept bool) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return nil, false
	}
	return parent.TracerProvider().Tracer("sandpool/runtime"), true
}

// traced begins the span of a call, whose name is what it does, without a sandbox's id. end must be called with the call's error.
func traced(ctx context.Context, op Op) (_ context.Context, end func(error)) {
	tracer, kept := tracer(ctx)
	if !kept {
		return ctx, func(error) {}
	}
	name := op.String()
	var about []attribute.KeyValue
	if op.Sandbox != "" {
		name = strings.Replace(name, " "+op.Sandbox, "", 1)
		about = append(about, attribute.String("sandpool.sandbox", op.Sandbox))
	}
	ctx, span := tracer.Start(ctx, name, trace.WithAttributes(about...))
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// tracePhase adds the span of a phase that is over.
func tracePhase(ctx context.Context, name string, from, to time.Time) {
	if tracer, kept := tracer(ctx); kept {
		_, span := tracer.Start(ctx, name, trace.WithTimestamp(from))
		span.End(trace.WithTimestamp(to))
	}
}
