package nic

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"sandpool/runtime/egress"
	"sandpool/scripts/testhost"
)

const churnEnv = "SANDPOOL_NIC_CHURN"

func TestMain(m *testing.M) {
	if os.Getenv(churnEnv) != "" {
		fmt.Fprintln(os.Stderr, churn()) // which ends by a kill
		os.Exit(1)
	}
	testhost.ClearEnv()
	os.Exit(m.Run())
}

// churn makes and removes interfaces for ever, and says what it is about to do.
func churn() error {
	rules, err := egress.Compile(egress.Layers{{Mode: egress.NIC, Allow: []string{"*", "a.test"}}})
	if err != nil {
		return err
	}
	h := New("test")
	step := func(text string, do func() error) error { fmt.Fprintln(os.Stdout, text); return do() }
	makes := func(id string) func() error {
		return func() error { _, err := h.Make(id); return err }
	}
	for err == nil {
		err = errors.Join(
			step("make", makes(one1)),
			step("apply", func() error { return h.Apply(one1, rules) }),
			step("allow", func() error { return h.Allow(one1, []netip.AddrPort{netip.MustParseAddrPort(outsideIP + ":80")}) }),
			step("make another", makes(two2)),
			step("renew", makes(one1)),
			step("remove", func() error { return h.Remove(one1) }),
			step("remove the last", func() error { return h.Remove(two2) }),
		)
	}
	return err
}

// What a kill leaves at any moment is known to the next daemon, and gone when that has removed what it knows.
func TestKilledBetweenSteps(t *testing.T) {
	w := newWorld(t)
	const kills = 21
	for i := range kills {
		killed := churnUntilKilled(t, w, 7+i%7)
		inside(t, w.host, func() error {
			later := New("test")
			ids, err := later.Owners()
			for _, id := range ids {
				err = errors.Join(err, later.Remove(id))
			}
			return err
		})
		awaitNamespaces(t, w)
		if nothingIsLeft(t, w); t.Failed() {
			t.Fatalf("killed at: %s", killed)
		}
	}
}

// churnUntilKilled kills who makes interfaces a moment after it has said what it is about to do for the nth time.
func churnUntilKilled(t *testing.T, w *world, n int) (said string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env, cmd.Stderr = append(os.Environ(), churnEnv+"=1"), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	inside(t, w.host, cmd.Start)
	lines := bufio.NewScanner(out)
	for range n + 1 {
		if !lines.Scan() {
			break
		}
	}
	said = lines.Text()
	time.Sleep(time.Duration(rand.IntN(60000)) * time.Microsecond) // the fault's moment
	_ = cmd.Process.Kill()
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") || said == "" {
		t.Fatalf("ended by itself after %q: %v", said, err)
	}
	return said
}

// awaitNamespaces waits until the kernel has removed the namespaces of who was killed, and their interfaces with them.
func awaitNamespaces(t *testing.T, w *world) {
	t.Helper()
	there := func() (found bool) {
		inside(t, w.host, func() error {
			links, err := netlink.LinkList()
			for _, link := range links {
				found = found || strings.HasPrefix(link.Attrs().Name, New("test").prefix())
			}
			return err
		})
		return found
	}
	for end := time.Now().Add(patience); there() && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
}
