package nic

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Numbers of protocols, and of what the rules look at in their headers.
const (
	icmp = unix.IPPROTO_ICMP
	tcp  = unix.IPPROTO_TCP
	udp  = unix.IPPROTO_UDP

	icmpUnreachable  = 3
	icmpTimeExceeded = 11
	icmpParameter    = 12
	portUnreachable  = 3

	sourceOffset      = 12 // in the header of IPv4
	destinationOffset = 16
	checksumOffset    = 10

	icmpChecksumOffset = 2
	quotedSourceOffset = 8 + sourceOffset // in an error of ICMP, which quotes the packet that it is about

	rejectUnreachable = unix.NFT_REJECT_ICMP_UNREACH
	rejectReset       = unix.NFT_REJECT_TCP_RST

	established = expr.CtStateBitESTABLISHED
	related     = expr.CtStateBitRELATED
	isNew       = expr.CtStateBitNEW
)

// The registers that a rule computes in; the second pair is a concatenation's.
const (
	register  = 1
	firstOf2  = unix.NFT_REG32_00
	secondOf2 = unix.NFT_REG32_00 + 1
)

// add adds a rule that is made of matches, and what is done with what they match.
func add(c *nftables.Conn, chain *nftables.Chain, parts ...[]expr.Any) {
	c.AddRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: slices.Concat(parts...)})
}

func one(e ...expr.Any) []expr.Any { return e }

func verdict(kind expr.VerdictKind, chain string) []expr.Any {
	return one(&expr.Verdict{Kind: kind, Chain: chain})
}

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: data} }

func load(base expr.PayloadBase, offset, size uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: base, Offset: offset, Len: size}
}

// device matches interfaces by what their names begin with.
func device(key expr.MetaKey, prefix string) []expr.Any {
	return one(&expr.Meta{Key: key, Register: register}, equal([]byte(prefix)))
}

// bySlot goes to the chain of the sandbox that an interface is of.
func (h *Host) bySlot() []expr.Any {
	return one(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: register}, &expr.Lookup{SourceRegister: register, SetName: h.slotsSet().Name, IsDestRegSet: true})
}

func ifname(name string) []byte {
	key := make([]byte, unix.IFNAMSIZ)
	copy(key, name)
	return key
}

func protocol(number byte) []expr.Any {
	return one(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register}, equal([]byte{number}))
}

func icmpType(kind byte) []expr.Any {
	return one(load(expr.PayloadBaseTransportHeader, 0, 1), equal([]byte{kind}))
}

func notIPv4() []expr.Any {
	return one(&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: register}, &expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: binaryutil.BigEndian.PutUint16(unix.ETH_P_IP)})
}

func notFrom(addr netip.Addr) []expr.Any {
	return one(load(expr.PayloadBaseNetworkHeader, sourceOffset, 4), &expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: addr.AsSlice()})
}

// state matches what is in one of some states, and stateless what is in none of them.
func state(bits uint32) []expr.Any { return compareState(bits, expr.CmpOpNeq) }

func stateless(bits uint32) []expr.Any { return compareState(bits, expr.CmpOpEq) }

func compareState(bits uint32, op expr.CmpOp) []expr.Any {
	return one(
		&expr.Ct{Key: expr.CtKeySTATE, Register: register},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: register, Data: make([]byte, 4)},
	)
}

func source(p netip.Prefix) []expr.Any { return within(sourceOffset, p) }

func destination(p netip.Prefix) []expr.Any { return within(destinationOffset, p) }

func within(offset uint32, p netip.Prefix) []expr.Any {
	if p.Bits() == 0 {
		return nil
	}
	mask := binaryutil.BigEndian.PutUint32(^uint32(0) << (32 - p.Bits()))
	return one(
		load(expr.PayloadBaseNetworkHeader, offset, 4),
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		equal(p.Addr().AsSlice()),
	)
}

// destinationPort is of TCP and UDP, which have it at the same place.
func destinationPort(port int) []expr.Any {
	return one(load(expr.PayloadBaseTransportHeader, 2, 2), equal(binaryutil.BigEndian.PutUint16(uint16(port)))) //nolint:gosec // of a rule, from 1 to 65535
}

// inSet matches pairs of address and port that are in a set.
func inSet(set *nftables.Set) []expr.Any {
	return one(
		&expr.Payload{DestRegister: firstOf2, Base: expr.PayloadBaseNetworkHeader, Offset: destinationOffset, Len: 4},
		&expr.Payload{DestRegister: secondOf2, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: firstOf2, SetName: set.Name},
	)
}

// pair is a key of such a set.
func pair(to netip.AddrPort) []byte {
	return append(to.Addr().AsSlice(), append(binaryutil.BigEndian.PutUint16(to.Port()), 0, 0)...)
}

// write writes an address into the header, and keeps its checksum right and those of TCP and UDP.
func write(addr netip.Addr, offset uint32) []expr.Any {
	return one(&expr.Immediate{Register: register, Data: addr.AsSlice()}, &expr.Payload{
		OperationType: expr.PayloadWrite, SourceRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4,
		CsumType: expr.CsumTypeInet, CsumOffset: checksumOffset, CsumFlags: unix.NFT_PAYLOAD_L4CSUM_PSEUDOHDR,
	})
}

// writeQuoted writes the source of the packet that an error of ICMP quotes. The checksum of the error is kept right; that of the quoted header is
// not, and nobody looks at it.
func writeQuoted(addr netip.Addr) []expr.Any {
	return one(&expr.Immediate{Register: register, Data: addr.AsSlice()}, &expr.Payload{
		OperationType: expr.PayloadWrite, SourceRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: quotedSourceOffset, Len: 4,
		CsumType: expr.CsumTypeInet, CsumOffset: icmpChecksumOffset,
	})
}
