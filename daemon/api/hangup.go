package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// connKey is under which a request's context has its connection.
type connKey struct{}

// withConn is http.Server's ConnContext: it notes the connection and who is calling.
func withConn(ctx context.Context, conn net.Conn) context.Context {
	ctx = context.WithValue(ctx, connKey{}, conn)
	if refusing, ok := conn.(*refusingConn); ok {
		ctx = context.WithValue(ctx, actorKey{}, refusing.who)
	}
	return ctx
}

// heed gives a request a context that ends when its client hangs up, or base does. net/http's own ends already when the client
// has no more to say, though it may listen for the answer still, as `nc -N` does. done is to be called at the request's end.
//
// The client of an exec has more to say until the end, so one that closed that direction has hung up.
func heed(base context.Context, r *http.Request) (heeded *http.Request, done func()) {
	var conn *net.UnixConn
	if refusing, ok := r.Context().Value(connKey{}).(*refusingConn); ok {
		conn = refusing.UnixConn
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	unbind := context.AfterFunc(base, func() { cancel(context.Cause(base)) })
	watched := make(chan struct{})
	unwatch := context.AfterFunc(r.Context(), func() {
		defer close(watched)
		if conn == nil || isExec(r) || awaitHangUp(conn) {
			cancel(context.Cause(r.Context()))
		}
	})
	return r.WithContext(ctx), func() {
		unbind()
		if !unwatch() && conn != nil {
			// Long past, which ends the wait; an error means that it is closed. It stays: nothing more comes, and without it
			// net/http would wait for the rest of a body for ever.
			_ = conn.SetReadDeadline(time.Unix(1, 0))
			<-watched
		}
		cancel(nil)
	}
}

// awaitHangUp returns true when both directions of a connection are closed by the other end, and false at its read deadline.
// Nobody else may read meanwhile.
func awaitHangUp(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Read(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd)}} //nolint:gosec // a file descriptor fits
		_, pollErr := unix.Poll(poll, 0)
		return pollErr == nil && poll[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
	})
	return !errors.Is(err, os.ErrDeadlineExceeded)
}
