package nictest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sandpool/daemon/client"
	"sandpool/daemon/networktest"
	"sandpool/daemon/wire"
	"sandpool/runtime/hostproc"
	"sandpool/scripts/hostile/network"
)

// buildGuest builds the program that is hostile in sandboxes.
func buildGuest(t *testing.T) string {
	t.Helper()
	file := filepath.Join(host.Dir, "guest")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", file, "sandpool/scripts/outside/guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // the image has no libraries
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build guest: %v: %s", err, out)
	}
	return file
}

// denied are addresses that the rules deny, of the outside, the host and other sandboxes. Groups are not among them: nobody refuses what is sent there.
const denied = "203.0.113.21 203.0.113.27 198.51.100.10 10.20.30.40 172.16.0.1 192.168.0.1 100.64.0.1 169.254.169.254 198.18.0.1 192.0.0.1 " +
	"10.200.0.1 " + hostAddress + " " + outsideAddress + " 10.7.7.7 198.19.0.1 2001:db8::20 fe80::1 ff02::1 64:ff9b::a14:1e28 ::ffff:10.20.30.40"

// isAttacked has a sandbox attack what is outside, by its door and by its interface. What leaves the host is to be what the rules allow.
func (d *daemon) isAttacked(t *testing.T, id string) {
	t.Helper()
	left := d.watch(t)
	guest := func(ctx context.Context, script string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*networktest.Patience)
		defer cancel()
		var out bytes.Buffer
		_, err := d.Exec(ctx, id, wire.ExecRequest{Args: []string{"sh", "-c", `guest() { /mnt/guest "$@"; }; ` + script}}, client.Stdio{Out: &out, Err: &out})
		return out.String(), err
	}
	tries := 0
	ground := &network.Ground{World: d.World, Guest: guest, Tried: func() { tries++ }, Through: func(format string, args ...any) { t.Errorf("got through: "+format, args...) }}
	for _, a := range network.Attacks {
		if !a.Both {
			continue
		}
		if err := a.Run(t.Context(), ground); err != nil {
			t.Errorf("%s: %v", a.Name, err)
		}
	}
	out, err := guest(t.Context(), "for address in "+denied+"; do guest reach 80 $address & done; wait")
	for line := range strings.Lines(out) {
		tries++
		// A refusal is an answer, too, to who sends packets by hand. The wire tells whether those got anywhere.
		if strings.HasPrefix(line, "reached") && (strings.Contains(line, "by TCP") || strings.Contains(line, "by UDP")) {
			t.Errorf("got through: %s", line)
		}
	}
	if ways := 6 * len(strings.Fields(denied)); err != nil || strings.Count(out, " by ") < ways {
		t.Errorf("not all of %d ways were tried: %v, %s", ways, err, out)
	}
	d.Wants(t, id, fetch, "hello from www.example.com") // behind the others, by the same way
	for _, what := range left() {
		t.Errorf("left the host: %s", what)
	}
	t.Logf("%d tries", tries)
}

// watch has a function tell which packets left the host since, of those that no rule allows.
func (d *daemon) watch(t *testing.T) (left func() []string) {
	t.Helper()
	var fd int
	err := hostproc.InNetwork(d.ns, func() (err error) {
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			return err
		}
		up, err := netlink.LinkByName("up")
		if err != nil {
			return err
		}
		const all = 0x0300 // kinds of packets, in the order of the network
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: up.Attrs().Index})
	})
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	end, ended := make(chan struct{}), make(chan int)
	go func() {
		seen := 0
		for last := false; !last; {
			select {
			case <-end:
				last = true
			default:
				_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
			}
			seen += readPackets(fd, found)
		}
		ended <- seen
	}()
	return func() []string {
		close(end)
		seen := <-ended
		stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err != nil || stats.Drops > 0 || seen == 0 {
			t.Errorf("%d packets were seen: %+v, %v", seen, stats, err)
		}
		return slices.Sorted(maps.Keys(found))
	}
}

// readPackets reads what a socket has, counts what leaves by it, and notes what is wrong with that.
func readPackets(fd int, found map[string]bool) (seen int) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			if !errors.Is(err, unix.EAGAIN) {
				found[err.Error()] = true
			}
			return seen
		}
		if at, ok := from.(*unix.SockaddrLinklayer); ok && at.Pkttype == unix.PACKET_OUTGOING {
			seen++
			if fault := judge(at.Protocol, buf[:n]); fault != "" {
				found[fault] = true
			}
		}
	}
}

// judge says what is wrong with a packet that leaves the host.
func judge(kind uint16, data []byte) string {
	switch kind {
	case 0x0608: // ARP, in the order of the network, which the host asks by
		return ""
	case 0xdd86: // IPv6, by which hosts greet their neighbours
		if from, ok := netip.AddrFromSlice(data[8:24]); ok && (from.IsUnspecified() || from.IsLinkLocalUnicast()) && data[6] != unix.IPPROTO_UDP {
			return ""
		}
	case 0x0008:
		from, to := netip.AddrFrom4([4]byte(data[12:16])).String(), netip.AddrFrom4([4]byte(data[16:20])).String()
		protocol := data[9]
		allowed := slices.Contains([]string{"203.0.113.20", "203.0.113.22", "203.0.113.53"}, to)
		if from == hostAddress && allowed && (protocol == unix.IPPROTO_TCP || protocol == unix.IPPROTO_UDP) {
			return ""
		}
		return fmt.Sprintf("a packet of protocol %d from %s to %s", protocol, from, to)
	}
	return "a packet of another kind"
}
