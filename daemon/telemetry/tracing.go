package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"sandpool/configs"
)

const (
	// exportTimeout bounds one request to the collector.
	exportTimeout = 5 * time.Second
	// flushTimeout is how long a stop waits until the collector has the last spans.
	flushTimeout = 5 * time.Second
	// exportWarnEvery is the least time between two warnings that spans are lost.
	exportWarnEvery = time.Minute
)

// OpenTracing returns what makes spans, and what sends the last of them and ends that, within some seconds. Without an endpoint none are
// made. A URL that cannot be used is an error.
func OpenTracing(ctx context.Context, c configs.Tracing, version string, log *slog.Logger) (trace.Tracer, func(), error) {
	if c.Endpoint == "" {
		return noop.NewTracerProvider().Tracer(""), func() {}, nil
	}
	traces, err := url.JoinPath(c.Endpoint, "v1", "traces")
	if err != nil {
		return nil, nil, fmt.Errorf("tracing.endpoint: %w", err)
	}
	sender := collectorClient()
	sent, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(traces), otlptracehttp.WithHTTPClient(sender),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{})) // what comes meanwhile would be lost instead
	if err != nil {
		return nil, nil, fmt.Errorf("make exporter of spans: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&exporter{SpanExporter: sent, log: log}, sdktrace.WithExportTimeout(exportTimeout)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.Sample))),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "sandpoold"), attribute.String("service.version", version))),
	)
	return provider.Tracer("sandpool/daemon"), func() {
		endTracing(context.WithoutCancel(ctx), provider, sent)
		sender.CloseIdleConnections()
	}, nil
}

// collectorClient goes to the collector by no proxy and follows it nowhere.
func collectorClient() *http.Client {
	return &http.Client{
		Timeout:       exportTimeout,
		Transport:     &http.Transport{},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// endTracing sends the spans that wait, within flushTimeout. The exporter knows of all errors.
func endTracing(ctx context.Context, provider *sdktrace.TracerProvider, sent *otlptrace.Exporter) {
	flushing, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	_ = provider.ForceFlush(flushing)
	_ = sent.Shutdown(ctx) // breaks off what is still being sent, so that the provider's goroutine ends
	_ = provider.Shutdown(ctx)
}

// exporter sends spans to the collector. Those that do not arrive are lost, and said to be now and then.
type exporter struct {
	sdktrace.SpanExporter // which is used by one goroutine at a time
	log                   *slog.Logger
	warned                time.Time
	lost                  int // since then
}

func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	if outer, ok := errors.AsType[*url.Error](err); ok { // its own text is the URL
		err = outer.Err
	}
	e.lost += len(spans)
	if time.Since(e.warned) >= exportWarnEvery {
		e.log.Warn("spans could not be sent to the collector; they are lost", "spans", e.lost, "err", err)
		e.warned, e.lost = time.Now(), 0
	}
	return nil
}
