package configs

import (
	"strings"
	"testing"
)

func TestMetricsAddressIsLoopback(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1:9464", "127.8.8.8:1", "[::1]:9464"} {
		if got := parse(t, `daemon.metrics_address = "`+address+`"`+"\nversion = 1").Daemon.MetricsAddress; got != address {
			t.Errorf("%q is read as %q", address, got)
		}
	}
	for _, address := range []string{"0.0.0.0:9464", ":9464", "[::]:9464", "10.0.0.1:9464", "localhost:9464", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000"} {
		_, err := Parse("f.toml", []byte(`daemon.metrics_address = "`+address+`"`+"\nversion = 1"))
		if err == nil || !strings.Contains(err.Error(), "daemon.metrics_address: ") {
			t.Errorf("%q is not refused: %v", address, err)
		}
	}
}
