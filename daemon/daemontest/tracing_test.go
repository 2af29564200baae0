package daemontest

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"sandpool/configs"
	"sandpool/daemon"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
	"sandpool/scripts/testhost"
)

// spans is a collector of traces that keeps what it is sent.
type spans struct {
	url string
	mu  sync.Mutex
	got map[string]*tracepb.Span // by id
}

func collectSpans(t *testing.T) *spans {
	t.Helper()
	s := &spans{got: map[string]*tracepb.Span{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var export collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &export)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s %s with %d bytes: %v", r.Method, r.URL, len(body), err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.keep(&export)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *spans) keep(export *collector.ExportTraceServiceRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range export.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				s.got[string(span.GetSpanId())] = span
			}
		}
	}
}

// paths returns the spans by their names and those of all above them. Above the topmost there is nothing, or one of callers.
func (s *spans) paths(t *testing.T, callers ...trace.SpanContext) map[string][]*tracepb.Span {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string][]*tracepb.Span{}
	for _, span := range s.got {
		path, top := span.GetName(), span
		for len(top.GetParentSpanId()) > 0 {
			if slices.ContainsFunc(callers, func(c trace.SpanContext) bool { return isChild(top, c) }) {
				path = "client/" + path
				break
			}
			above := s.got[string(top.GetParentSpanId())]
			if above == nil || !bytes.Equal(above.GetTraceId(), span.GetTraceId()) {
				t.Errorf("nothing is above span %q in its trace", path)
				break
			}
			path, top = above.GetName()+"/"+path, above
		}
		all[path] = append(all[path], span)
	}
	return all
}

func isChild(span *tracepb.Span, of trace.SpanContext) bool {
	id, in := of.SpanID(), of.TraceID()
	return bytes.Equal(span.GetParentSpanId(), id[:]) && bytes.Equal(span.GetTraceId(), in[:])
}

// wantAttributes checks that one of the spans says all that.
func wantAttributes(t *testing.T, of []*tracepb.Span, want map[string]string) {
	t.Helper()
	var all []map[string]string
	for _, span := range of {
		got := map[string]string{}
		for _, a := range span.GetAttributes() {
			got[a.GetKey()] = a.GetValue().GetStringValue()
		}
		if maps.Equal(got, want) {
			return
		}
		all = append(all, got)
	}
	t.Errorf("the spans say %v, want %v", all, want)
}

// inTrace is a context in a client's own trace.
func inTrace(ctx context.Context, id byte, flags trace.TraceFlags) (context.Context, trace.SpanContext) {
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{id}, SpanID: trace.SpanID{id}, TraceFlags: flags})
	return trace.ContextWithSpanContext(ctx, sc), sc
}

func TestTracing(t *testing.T) {
	collected := collectSpans(t)
	cfg := testConfig(t, 2, 12)
	cfg.Tracing = configs.Tracing{Endpoint: collected.url, Sample: 1}
	cfg.Templates["default"] = configs.Template{
		Image: configs.FileScheme + host.Image, Prewarm: []string{"true"}, PrewarmTimeout: lifetime.Duration(patience),
		ReadyCommand: "true", ReadyTimeout: lifetime.Duration(patience),
	}
	d := start(t, cfg)
	awaitPool(t, d.Client)

	traced, caller := inTrace(t.Context(), 1, trace.FlagsSampled)
	warm, err := d.Claim(traced, wire.ClaimRequest{})
	if err != nil {
		t.Fatal(err)
	}
	saved, err := d.Checkpoint(traced, warm.ID, wire.CheckpointRequest{})
	if err != nil {
		t.Fatal(err)
	}
	restored, err := d.Claim(traced, wire.ClaimRequest{Checkpoint: saved.ID})
	if err != nil {
		t.Fatal(err)
	}
	untraced, silent := inTrace(t.Context(), 2, 0)
	if _, err := d.Claim(untraced, wire.ClaimRequest{Start: wire.StartCold}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Claim(traced, wire.ClaimRequest{Template: "none"}); err == nil {
		t.Error("a template that there is not was claimed")
	}
	cold := claim(t, d.Client, wire.ClaimRequest{Start: wire.StartCold})
	forks, err := d.Fork(t.Context(), cold.ID, wire.ForkRequest{Count: 2})
	if err != nil {
		t.Fatal(err)
	}
	save(t, d.Client, cold.ID, wire.CheckpointRequest{Stop: true})
	awaitPool(t, d.Client)
	d.finish(t)

	all := collected.paths(t, caller, silent)
	for _, path := range []string{
		"refill/start sandbox/image", "refill/start sandbox/sentry", "refill/start sandbox/user_space",
		"refill/dependencies", "refill/prewarm sandbox", "refill/ready", "refill/await readiness of sandbox", "refill/pause sandbox", "refill/label sandbox",
		"client/claim/wait for sandbox", "client/claim/label sandbox", "client/claim/resume sandbox",
		"client/checkpoint/checkpoint sandbox",
		"client/claim/restore/restore sandbox/image", "client/claim/restore/restore sandbox/sentry", "client/claim/restore/restore sandbox/user_space",
		"claim/wait for sandbox", "claim/label sandbox", "claim/start/start sandbox/sentry", "claim/start/prewarm sandbox", "claim/start/ready",
		"fork/checkpoint/checkpoint sandbox", "fork/claim/wait for sandbox", "fork/claim/restore/restore sandbox/sentry",
		"checkpoint/label sandbox", "checkpoint/pause sandbox", "checkpoint/checkpoint sandbox",
	} {
		if len(all[path]) == 0 {
			t.Errorf("no span %s", path)
		}
	}
	for path := range all {
		top, _, _ := strings.Cut(strings.TrimPrefix(path, "client/"), "/")
		if !slices.Contains([]string{"refill", "claim", "checkpoint", "fork"}, top) {
			t.Errorf("a trace begins with %s", path)
		}
	}
	if t.Failed() {
		t.Logf("spans: %s", strings.Join(slices.Sorted(maps.Keys(all)), "\n"))
	}
	const pool, template = "local:default", "default"
	of := func(c wire.Claim) map[string]string {
		return map[string]string{
			"sandpool.pool": pool, "sandpool.template": template, "sandpool.claim": c.ID, "sandpool.sandbox": c.Sandbox, "sandpool.tier": string(c.Tier),
			"sandpool.result": "granted",
		}
	}
	wantAttributes(t, all["client/claim"], of(warm))
	wantAttributes(t, all["client/claim"], of(restored))
	wantAttributes(t, all["client/claim"], map[string]string{"sandpool.pool": "local:none", "sandpool.template": "none", "sandpool.result": "not_found"})
	wantAttributes(t, all["claim"], of(cold))
	wantAttributes(t, all["fork/claim"], of(forks[0]))
	wantAttributes(t, all["fork/claim"], of(forks[1]))
	wantAttributes(t, all["client/claim/resume sandbox"], map[string]string{"sandpool.sandbox": warm.Sandbox})
	wantAttributes(t, all["refill"], map[string]string{"sandpool.pool": pool, "sandpool.template": template, "sandpool.sandbox": warm.Sandbox})
	wantAttributes(t, all["client/claim/restore"], map[string]string{
		"sandpool.pool": pool, "sandpool.template": template, "sandpool.sandbox": restored.Sandbox, "sandpool.checkpoint": saved.ID,
	})
	wantAttributes(t, all["client/checkpoint"], map[string]string{
		"sandpool.pool": pool, "sandpool.template": template, "sandpool.sandbox": warm.Sandbox, "sandpool.claim": warm.ID,
		"sandpool.checkpoint": saved.ID, "sandpool.trigger": "request",
	})
	quiet := silent.TraceID()
	for path, list := range all {
		for _, span := range list {
			if bytes.Equal(span.GetTraceId(), quiet[:]) {
				t.Errorf("span %s is in a trace that its client does not keep", path)
			}
		}
	}
	checkNoExporter(t)
}

// checkNoExporter waits until nothing in this process sends spans.
func checkNoExporter(t *testing.T) {
	t.Helper()
	await(t, "nothing sends spans", func() bool {
		var stacks strings.Builder
		if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
			t.Fatal(err)
		}
		return !strings.Contains(stacks.String(), "go.opentelemetry.io/otel/")
	})
}

// TestTracingWithoutCollector has claims while spans cannot be sent, and a stop that gives them up.
func TestTracingWithoutCollector(t *testing.T) {
	mute := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	t.Cleanup(mute.Close)
	for name, endpoint := range map[string]string{"refuses": "http://" + freeAddress(t), "never answers": mute.URL} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t, 1, 4)
			cfg.Tracing = configs.Tracing{Endpoint: endpoint, Sample: 1}
			var log testhost.Log
			d := start(t, cfg, func(o *daemon.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
			for range 2 {
				checkAlive(t, d.Client, claim(t, d.Client, wire.ClaimRequest{}))
			}
			d.Close()
			d.stop()
			select {
			case err := <-d.ended:
				d.ended <- nil
				if err != nil {
					t.Error(err)
				}
			case <-time.After(patience):
				t.Error("the daemon waits for the collector")
				mute.CloseClientConnections()
			}
			if warnings := strings.Count(log.String(), "spans could not be sent"); warnings != 1 {
				t.Errorf("%d warnings, want 1:\n%s", warnings, log.String())
			}
			checkNoExporter(t)
		})
	}
}

// TestNoTracing has an endpoint for other programs in the environment, and none in the configuration.
func TestNoTracing(t *testing.T) {
	collected := collectSpans(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collected.url)
	d := start(t, testConfig(t, 1, 4))
	traced, caller := inTrace(t.Context(), 1, trace.FlagsSampled)
	if _, err := d.Claim(traced, wire.ClaimRequest{}); err != nil {
		t.Fatal(err)
	}
	checkNoExporter(t)
	d.finish(t)
	if all := collected.paths(t, caller); len(all) > 0 {
		t.Errorf("spans were sent: %v", all)
	}
}
