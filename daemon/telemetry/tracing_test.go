package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"sandpool/configs"
)

func TestNoEndpointNoExporter(t *testing.T) {
	tracer, stop, err := OpenTracing(t.Context(), configs.Default().Tracing, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if _, ok := tracer.(noop.Tracer); !ok {
		t.Errorf("the tracer is a %T", tracer)
	}
}

// TestCollectorIsTheOneConfigured has a collector that sends the spans elsewhere.
func TestCollectorIsTheOneConfigured(t *testing.T) {
	var asked, misled atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { misled.Add(1) }))
	defer elsewhere.Close()
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/otlp/v1/traces" {
			t.Errorf("spans are sent to %s", r.URL.Path)
		}
		asked.Add(1)
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	defer collector.Close()
	for sample, want := range map[float64]int32{0: 0, 1: 1} {
		asked.Store(0)
		tracing := configs.Tracing{Endpoint: collector.URL + "/otlp", Sample: sample}
		tracer, stop, err := OpenTracing(t.Context(), tracing, "test", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		_, span := tracer.Start(t.Context(), "x")
		span.End()
		stop()
		if got := asked.Load(); got != want {
			t.Errorf("with sample %v spans were sent %d times, want %d", sample, got, want)
		}
	}
	if misled.Load() > 0 {
		t.Error("spans followed a redirect")
	}
}

// away is a collector that cannot be reached.
type away struct{}

func (away) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	return errors.New("it is away")
}

func (away) Shutdown(context.Context) error { return nil }

func TestLostSpansAreToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		e := &exporter{SpanExporter: away{}, log: slog.New(slog.NewTextHandler(&log, nil))}
		for range 13 { // every 10 seconds from 0 to 120
			if err := e.ExportSpans(t.Context(), make([]sdktrace.ReadOnlySpan, 2)); err != nil {
				t.Error(err)
			}
			time.Sleep(10 * time.Second)
		}
		for _, want := range []string{"spans=2 ", "spans=12 "} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("no %q in\n%s", want, log.String())
			}
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 3 {
			t.Errorf("%d warnings, want 3:\n%s", n, log.String())
		}
	})
}
