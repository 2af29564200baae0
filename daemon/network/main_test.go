package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sandpool/scripts/testhost"
)

// inside says that this process is in a network namespace of the tests' own, where every address leads to this host.
const inside = "SANDPOOL_TEST_NETWORK"

func TestMain(m *testing.M) {
	within := os.Getenv(inside) != ""
	testhost.ClearEnv()
	if !within {
		os.Exit(runInside())
	}
	if err := ownEverything(); err != nil {
		fmt.Fprintln(os.Stderr, "make a network of the tests' own:", err)
		os.Exit(1)
	}
	m.Run()
}

// runInside runs this program again, in a namespace, and returns its exit code.
func runInside() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return max(exit.ExitCode(), 1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "run in a network namespace:", err)
		return 1
	}
	return 0
}

// ownEverything brings lo up and has every address of IPv4 and IPv6 be one of this host.
func ownEverything() error {
	err := change("lo", unix.SIOCSIFFLAGS, func(lo *unix.Ifreq) error { lo.SetUint16(unix.IFF_UP); return nil })
	if err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		if err := addLocalRoute(family); err != nil {
			return fmt.Errorf("add route of family %d: %w", family, err)
		}
	}
	return nil
}

// ownAddress gives lo one more address of IPv4.
func ownAddress(addr netip.Addr) error {
	return change("lo:1", unix.SIOCSIFADDR, func(lo *unix.Ifreq) error { return lo.SetInet4Addr(addr.AsSlice()) })
}

// change changes an interface.
func change(name string, what uint, fill func(*unix.Ifreq) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	ifreq, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := fill(ifreq); err != nil {
		return err
	}
	return unix.IoctlIfreq(fd, what, ifreq)
}

// addLocalRoute adds what "ip route add local default dev lo" does.
func addLocalRoute(family byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	route := []byte{family, 0, 0, 0, unix.RT_TABLE_LOCAL, unix.RTPROT_STATIC, unix.RT_SCOPE_HOST, unix.RTN_LOCAL, 0, 0, 0, 0}
	route = append(route, 8, 0, unix.RTA_OIF, 0, 1, 0, 0, 0) // lo is the first interface of each namespace
	message := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(route)))
	message = binary.NativeEndian.AppendUint16(message, unix.RTM_NEWROUTE)
	message = binary.NativeEndian.AppendUint16(message, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE)
	message = append(append(message, make([]byte, 8)...), route...)
	if err := unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	size, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return err
	}
	if size < unix.SizeofNlMsghdr+4 {
		return errors.New("a short answer")
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); code != 0 {
		return syscall.Errno(-code)
	}
	return nil
}
