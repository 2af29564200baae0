package networktest

import (
	"fmt"
	"os"
	"testing"

	"sandpool/scripts/outside"
	"sandpool/scripts/testhost"
)

var host *testhost.Host

func TestMain(m *testing.M) {
	namespace := fmt.Sprintf("sandpool-network-%d", os.Getpid()) // two runs at once must not see each other's cgroups
	os.Exit(testhost.Main(m, testhost.Options{Namespace: namespace}, &host))
}

// start starts a daemon with these templates in the world.
func start(t *testing.T, templates string) *Daemon {
	t.Helper()
	return Start(t, host, templates, func(w *outside.World) Network { return w.Do })
}
