package daemontest

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

const (
	// prometheus comes from scripts/stack.sh prometheus.
	prometheus     = "../../.build/stack/prometheus"
	prometheusConf = "../../configs/prometheus"
)

// watcher is a Prometheus that scrapes a daemon each second and applies the project's rules.
type watcher struct{ promv1.API }

// watch starts a Prometheus with a feature, on configs/prometheus, and returns when it has scraped the daemon's metrics at the address.
func watch(t *testing.T, address, feature string) watcher {
	t.Helper()
	dir, listen := t.TempDir(), freeAddress(t)
	config := filepath.Join(dir, "scrape.yml")
	copyChanged(t, "scrape.yml", config, "127.0.0.1:9464", address, "interval: 15s", "interval: 1s")
	copyChanged(t, "rules.yml", filepath.Join(dir, "rules.yml"))
	p, err := host.Spawn("prometheus", exec.Command(prometheus,
		"--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", listen, "--enable-feature", feature))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(patience); err != nil {
			t.Error(err)
		}
	})
	client, err := api.NewClient(api.Config{Address: "http://" + listen})
	if err != nil {
		t.Fatal(err)
	}
	w := watcher{promv1.NewAPI(client)}
	await(t, "Prometheus has scraped the daemon", func() bool {
		select {
		case <-p.Done():
			log, _ := os.ReadFile(p.Log)
			t.Fatalf("Prometheus ended:\n%s", log)
		default:
		}
		up, _, _, err := w.Query(t.Context(), `up{job="sandpoold"} == 1`, time.Now()) // it refuses connections at first
		return err == nil && len(numbers(t, up)) == 1
	})
	return w
}

// copyChanged copies a file of configs/prometheus with texts replaced, each of which must be there.
func copyChanged(t *testing.T, name, to string, oldnew ...string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(prometheusConf, name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(text, oldnew[i]) {
			t.Fatalf("%s lacks %q", name, oldnew[i])
		}
		text = strings.ReplaceAll(text, oldnew[i], oldnew[i+1])
	}
	if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// query returns the values of a query's series now, but for those that are no number: of a rate of nothing, say.
func (w watcher) query(t *testing.T, query string) []float64 {
	t.Helper()
	result, _, _, err := w.Query(t.Context(), query, time.Now())
	if err != nil {
		t.Fatalf("%v: %s", err, query)
	}
	return numbers(t, result)
}

func numbers(t *testing.T, result model.Value) []float64 {
	t.Helper()
	series, ok := result.(model.Vector)
	if !ok {
		t.Fatalf("the result is a %s, want a vector", result.Type())
	}
	var values []float64
	for _, sample := range series {
		if value := float64(sample.Value); !math.IsNaN(value) {
			values = append(values, value)
		}
	}
	return values
}

// lately is the range of a panel that covers the test, however slow the machine is; $__rate_interval is as long.
func lately() promv1.Range {
	now := time.Now()
	return promv1.Range{Start: now.Add(-10 * time.Minute), End: now, Step: 10 * time.Second}
}
