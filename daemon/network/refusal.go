package network

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// refusal is why something that a sandbox asked for was not done.
type refusal struct {
	reason  door.Reason
	verdict egress.Verdict // its Text is the sentence
	address netip.AddrPort // that it is about, if it is about one
}

func (r *refusal) Error() string { return r.verdict.Text }

// forDoor is the refusal as the sandbox's end of the door hears it.
func (r *refusal) forDoor() door.Refusal { return door.Refusal{Reason: r.reason, Text: r.verdict.Text} }

// result tells denials from failures.
func (r *refusal) result() wire.NetworkResult {
	if r.reason == door.Denied || r.reason == door.Busy {
		return wire.NetworkDenied
	}
	return wire.NetworkFailed
}

func denied(v egress.Verdict) *refusal { return &refusal{reason: door.Denied, verdict: v} }

// notAName refuses what is no target at all.
func notAName(err error) *refusal {
	return denied(egress.Verdict{Kind: egress.KindName, Text: sentence(err.Error())})
}

func busy(text string) *refusal {
	return &refusal{reason: door.Busy, verdict: egress.Verdict{Kind: egress.KindLimit, Text: text}}
}

func failed(reason door.Reason, text string) *refusal {
	return &refusal{reason: reason, verdict: egress.Verdict{Text: text}}
}

// The causes with which a dial is ended.
var (
	errLookupSlow  = errors.New("no resolver has answered in time")
	errConnectSlow = errors.New("nobody has answered in time")
)

// refusalOf says why a dial failed. Names and addresses of the host's resolvers stay out of it.
func refusalOf(ctx context.Context, t target, err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	if cause := context.Cause(ctx); errors.Is(cause, errLookupSlow) || errors.Is(cause, errConnectSlow) {
		return failed(door.Failed, fmt.Sprintf("The connection to %s failed: %v.", t.host(), cause))
	}
	if wrong, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return failed(door.Failed, fmt.Sprintf("The server that answers for %s has no certificate that is believed: %s.", t.host(), shown(wrong.Err.Error())))
	}
	if unknown, ok := errors.AsType[*net.DNSError](err); ok {
		if unknown.IsNotFound {
			return failed(door.NotFound, "The name "+t.host()+" was not found.")
		}
		return failed(door.Failed, "No resolver could say which addresses "+t.host()+" has.")
	}
	what := "nothing more is known"
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		what = errno.Error()
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		what = errConnectSlow.Error()
	}
	r := failed(door.Failed, fmt.Sprintf("The connection to %s failed: %s.", net.JoinHostPort(t.host(), strconv.Itoa(t.outside())), what))
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil {
		r.address, _ = netip.ParseAddrPort(op.Addr.String())
	}
	return r
}

// refuse notes, counts and tells a refusal.
func (n *Server) refuse(b *sandbox, t target, connection uint64, r *refusal) {
	e := t.entry(r.result())
	e.Connection, e.Rule, e.Kind, e.Message = connection, r.verdict.Rule, r.verdict.Kind, r.verdict.Text
	if r.address.IsValid() {
		e.Address = r.address.String()
	}
	e = b.add(e)
	n.o.Metrics.NetworkAsked(string(e.Result), e.Kind)
	if e.Result == wire.NetworkDenied && b.toTell(e, time.Now()) {
		n.o.Tell(b.id, e)
	}
}

// sentence makes one of an error's text.
func sentence(text string) string {
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
