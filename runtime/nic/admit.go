package nic

import (
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The host's kernel tracks the connections of all that is on it in one table, and serves nobody once that is full. So a sandbox has a bounded part
// of it: what is open, and what was begun so lately that the kernel may still know of it though it is closed.
const (
	// MaxOpen is how many connections of a sandbox are open at once. A pair of addresses and ports by UDP is one until it has been quiet for a while.
	MaxOpen = 1 << 10
	// MaxBegun is how many a sandbox begins within begunTime, which is as long as the kernel remembers one that was closed.
	MaxBegun  = 1 << 12
	begunTime = 2 * time.Minute
)

// flows are the connections that a sandbox began lately.
func (h *Host) flows(sandbox string) *nftables.Set {
	return &nftables.Set{
		Table: h.filter(), Name: sandbox + "-flows", Concatenation: true, Dynamic: true, HasTimeout: true, Timeout: begunTime, Size: MaxBegun,
		KeyType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService, nftables.TypeInetService, nftables.TypeInetProto),
	}
}

// addAdmission adds the chain of a sandbox where all ends that its rules allow. It is made once: the kernel counts anew in a rule that is replaced.
func (h *Host) addAdmission(c *nftables.Conn, sandbox string) error {
	flows := h.flows(sandbox)
	if err := c.AddSet(flows, nil); err != nil {
		return err
	}
	admit := c.AddChain(h.chain(admitOf(sandbox)))
	add(c, admit, stateless(isNew), verdict(expr.VerdictDrop, "")) // what begins nothing is not tracked, so it would leave with the sandbox's own address
	add(c, admit, one(&expr.Connlimit{Count: MaxOpen, Flags: expr.NFT_CONNLIMIT_F_INV}), verdict(expr.VerdictGoto, refuse))
	add(c, admit, into(flows), verdict(expr.VerdictAccept, ""))
	add(c, admit, verdict(expr.VerdictGoto, refuse)) // the set is full
	return nil
}

// into adds a packet's connection to a set. A rule ends here when that is full, unless the connection is in it.
func into(set *nftables.Set) []expr.Any {
	const first = unix.NFT_REG32_00
	return one(
		&expr.Payload{DestRegister: first, Base: expr.PayloadBaseNetworkHeader, Offset: destinationOffset, Len: 4},
		&expr.Payload{DestRegister: first + 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2},
		&expr.Payload{DestRegister: first + 2, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: first + 3},
		&expr.Dynset{SrcRegKey: first, SetName: set.Name, Operation: unix.NFT_DYNSET_OP_ADD},
	)
}
