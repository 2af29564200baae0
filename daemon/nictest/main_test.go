package nictest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"sandpool/daemon/networktest"
	"sandpool/runtime/hostproc"
	"sandpool/scripts/outside"
	"sandpool/scripts/testhost"
)

const insideEnv = "SANDPOOL_NICTEST_INSIDE"

var host *testhost.Host

// TestMain runs the tests in namespaces of their own: nothing of the machine's network is touched, and a containerd that has to be in a user
// namespace is in that of the networks, which runsc could not enter from another one.
func TestMain(m *testing.M) {
	if os.Getenv(insideEnv) == "" {
		os.Exit(again())
	}
	os.Exit(testhost.Main(m, testhost.Options{Namespace: fmt.Sprintf("sandpool-nic-%d", os.Getpid())}, &host))
}

func again() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET, UidMappings: ids, GidMappings: ids,
		GidMappingsEnableSetgroups: true, Pdeathsig: syscall.SIGKILL,
	}
	err := cmd.Run()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return failed.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Addresses of the wire between the daemon's host and the outside.
const (
	hostAddress    = "192.0.2.2"
	outsideAddress = "192.0.2.1"
	forwarding     = "/proc/sys/net/ipv4/ip_forward"
)

// newHostNetwork makes the network of a host that forwards packets to the outside.
func newHostNetwork(t *testing.T, world *outside.World) *os.File {
	t.Helper()
	ns, err := hostproc.NewNetwork()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	err = world.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "out"
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "up", PeerNamespace: netlink.NsFd(int(ns.Fd()))}); err != nil {
			return err
		}
		return raise("out", outsideAddress+"/24")
	})
	if err == nil {
		err = hostproc.InNetwork(ns, func() error {
			if err := errors.Join(raise("lo", "10.7.7.7/32"), raise("up", hostAddress+"/24")); err != nil {
				return err
			}
			return errors.Join(netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(outsideAddress)}), os.WriteFile(forwarding, []byte("1"), 0o600))
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

func raise(device, address string) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrAdd(link, addr), netlink.LinkSetUp(link))
}

// daemon is a sandpoold on a host of its own.
type daemon struct {
	*networktest.Daemon
	ns *os.File
}

// start starts a daemon with these templates. The test's end stops it, and checks that nothing is left.
func start(t *testing.T, templates string) *daemon {
	t.Helper()
	var ns *os.File
	d := networktest.Start(t, host, templates, func(world *outside.World) networktest.Network {
		ns = newHostNetwork(t, world)
		t.Cleanup(func() { checkNetwork(t, ns) })
		return func(do func() error) error { return hostproc.InNetwork(ns, do) }
	})
	return &daemon{d, ns}
}

// checkNetwork wants nothing of what a daemon makes to be left in its host's network.
func checkNetwork(t *testing.T, ns *os.File) {
	t.Helper()
	err := hostproc.InNetwork(ns, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := c.ListTables()
		for _, table := range tables {
			t.Errorf("left over: table %s", table.Name)
		}
		links, linksErr := netlink.LinkList()
		for _, link := range links {
			if name := link.Attrs().Name; name != "lo" && name != "up" {
				t.Errorf("left over: interface %s", name)
			}
		}
		return errors.Join(err, linksErr)
	})
	if err != nil {
		t.Error(err)
	}
}

// refuses has the program start on its host while that does not forward, and wants it to say what mends that.
func (d *daemon) refuses(t *testing.T, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), networktest.Patience)
	defer cancel()
	err := hostproc.InNetwork(d.ns, func() error {
		if err := os.WriteFile(forwarding, []byte("0"), 0o600); err != nil {
			return err
		}
		said, err := exec.CommandContext(ctx, d.Program, "--config", d.Config).CombinedOutput()
		if err == nil || !strings.Contains(string(said), want) {
			t.Errorf("without forwarding: %v, %s", err, said)
		}
		return os.WriteFile(forwarding, []byte("1"), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
