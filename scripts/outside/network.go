package outside

import (
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// local are the addresses of the network: those of the servers, in ranges that are kept for documents, and some of each kind that a
// sandbox has no business with, where whoever comes is counted. On a loopback interface every address of a prefix is the host's own.
var local = []string{
	"198.51.100.1/24", "203.0.113.1/24",
	"10.20.30.40/32", "172.16.0.1/32", "192.168.0.1/32", "100.64.0.1/32", "169.254.169.254/32", "198.18.0.1/32", "192.0.0.1/32",
}

// raiseLoopback brings the interface of the thread's network up and gives it the local addresses.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	for i, text := range local {
		if err := addAddress(fd, fmt.Sprintf("lo:%d", i+1), netip.MustParsePrefix(text)); err != nil {
			return fmt.Errorf("give lo the address %s: %w", text, err)
		}
	}
	if err := addAddress6(netip.MustParseAddr(hosts[Six])); err != nil {
		return fmt.Errorf("give lo the address %s: %w", hosts[Six], err)
	}
	return nil
}

// addAddress6 gives the loopback interface one more address.
func addAddress6(address netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	request := struct {  // in6_ifreq
		address [16]byte
		bits    uint32
		index   int32 // the loopback interface is the first of a network
	}{address.As16(), 128, 1}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFADDR, uintptr(unsafe.Pointer(&request))); errno != 0 { //nolint:gosec // as the kernel wants it
		return errno
	}
	return nil
}

// addAddress gives an interface an address under a label of its own, so that it replaces none.
func addAddress(fd int, label string, prefix netip.Prefix) error {
	req, err := unix.NewIfreq(label)
	if err != nil {
		return err
	}
	if err := req.SetInet4Addr(prefix.Addr().AsSlice()); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, req); err != nil {
		return err
	}
	if err := req.SetInet4Addr(net.CIDRMask(prefix.Bits(), 32)); err != nil {
		return err
	}
	return unix.IoctlIfreq(fd, unix.SIOCSIFNETMASK, req)
}
