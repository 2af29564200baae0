package nic

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"sandpool/runtime/hostproc"
)

func errNone(sandbox string) error {
	return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("sandbox %s has no network interface", sandbox))
}

// Lack is what a host lacks for sandboxes with an interface.
type Lack struct {
	What string // in one sentence
	Mend string // the command that mends it
}

func (l *Lack) Error() string { return l.What + ": " + l.Mend }

const forwarding = "/proc/sys/net/ipv4/ip_forward"

// Check says what this host lacks, as a *Lack. It makes what a sandbox has in a namespace that ends with it.
func Check() error {
	ns, err := hostproc.NewNetwork()
	if err != nil {
		return lackOf(err)
	}
	defer ns.Close() //nolint:errcheck // nothing was written
	if err := hostproc.InNetwork(ns, tryRules); err != nil {
		return lackOf(err)
	}
	if err := forgetConnections(gateway); err != nil { // nobody's
		return lackOf(err)
	}
	data, err := os.ReadFile(forwarding)
	if err != nil {
		return fmt.Errorf("look at forwarding: %w", err)
	}
	if strings.TrimSpace(string(data)) != "1" {
		return &Lack{What: "this host forwards no packets", Mend: "sysctl -w net.ipv4.ip_forward=1, and in a file of /etc/sysctl.d"}
	}
	return nil
}

// tryRules makes all kinds of rules that there are for a sandbox, of which loopback stands for its interface.
func tryRules() error {
	h := New("trial")
	return batch(func(c *nftables.Conn) error {
		if err := h.addTables(c); err != nil {
			return err
		}
		h.translate(c, "trial", slot{}, "lo")
		return h.addAdmission(c, "trial")
	})
}

func lackOf(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return &Lack{
			What: fmt.Sprintf("interfaces cannot be made without CAP_NET_ADMIN, CAP_SYS_ADMIN and leave to make network namespaces (%v)", err),
			Mend: "systemctl edit sandpoold.service, and add the lines [Service], CapabilityBoundingSet=CAP_NET_ADMIN and RestrictNamespaces=net",
		}
	}
	return &Lack{What: fmt.Sprintf("this kernel has no nf_tables for interfaces (%v)", err), Mend: "modprobe nf_tables, or a kernel from 5.16 with CONFIG_NF_TABLES_NETDEV and CONFIG_NETFILTER_EGRESS"}
}

// unable tells of an error that nothing of ours can be there, since it could not have been made.
func unable(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) ||
		errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT)
}
