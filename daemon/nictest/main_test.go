package nictest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sandpool/daemon/client"
	"sandpool/runtime/hostproc"
	"sandpool/scripts/outside"
	"sandpool/scripts/testhost"
)

// patience is how long one thing may take on a machine under load.
const patience = 2 * time.Minute

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
	var ns *os.File
	err := hostproc.OnThread(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			ns, err = os.Open("/proc/thread-self/ns/net")
		}
		return err
	})
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
		err = in(ns, func() error {
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

// in runs a function on a thread in a network.
func in(ns *os.File, do func() error) error {
	return hostproc.OnThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return do()
	})
}

// daemon is a sandpoold on a host of its own.
type daemon struct {
	*client.Client
	world   *outside.World
	ns      *os.File
	program string
	config  string
	process *testhost.Process
}

// start starts a daemon with these templates. The test's end stops it, and checks that nothing is left.
func start(t *testing.T, templates string) *daemon {
	t.Helper()
	world, err := outside.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Close(); err != nil {
			t.Error(err)
		}
	})
	program, err := host.Build(t.Context(), "sandpoold")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(host.Dir, "d.sock")
	text, err := host.Trusted(host.Config(testhost.Settings{
		"daemon":      {"socket": socket, "state_dir": filepath.Join(host.Dir, "sandpool"), "on_stop": "remove"},
		"checkpoints": {"dir": filepath.Join(host.Dir, "checkpoints")},
		"reserves":    testhost.NoReserves,
	}, templates))
	file := filepath.Join(host.Dir, "sandpoold.toml")
	if err := errors.Join(err, os.WriteFile(file, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	d := &daemon{Client: &client.Client{Socket: socket}, world: world, ns: newHostNetwork(t, world), program: program, config: file}
	t.Cleanup(func() {
		d.Close()
		if err := d.process.Stop(patience); err != nil {
			t.Errorf("stop sandpoold: %v", err)
		}
		left := append(host.Leftovers(), d.leftInNetwork(t)...)
		if len(left) > 0 {
			t.Errorf("left over:\n%s", strings.Join(left, "\n"))
		}
	})
	d.spawn(t)
	return d
}

// leftInNetwork are what a daemon makes in its host's network.
func (d *daemon) leftInNetwork(t *testing.T) (left []string) {
	t.Helper()
	err := in(d.ns, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := c.ListTables()
		for _, table := range tables {
			left = append(left, "table "+table.Name)
		}
		links, linksErr := netlink.LinkList()
		for _, link := range links {
			if name := link.Attrs().Name; name != "lo" && name != "up" {
				left = append(left, "interface "+name)
			}
		}
		return errors.Join(err, linksErr)
	})
	if err != nil {
		t.Error(err)
	}
	return left
}

// refuses has the program start on its host while that does not forward, and wants it to say what mends that.
func (d *daemon) refuses(t *testing.T, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := in(d.ns, func() error {
		if err := os.WriteFile(forwarding, []byte("0"), 0o600); err != nil {
			return err
		}
		said, err := exec.CommandContext(ctx, d.program, "--config", d.config).CombinedOutput()
		if err == nil || !strings.Contains(string(said), want) {
			t.Errorf("without forwarding: %v, %s", err, said)
		}
		return os.WriteFile(forwarding, []byte("1"), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// spawn starts the program on its host, and waits until it serves.
func (d *daemon) spawn(t *testing.T) {
	t.Helper()
	err := in(d.ns, func() (err error) {
		d.process, err = host.Spawn("sandpoold", exec.CommandContext(context.WithoutCancel(t.Context()), d.program, "--config", d.config))
		return err
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err == nil {
		err = d.process.AwaitSocket(ctx, d.Socket)
	}
	if err != nil {
		t.Fatal(err)
	}
}
