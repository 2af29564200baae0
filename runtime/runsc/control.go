package runsc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"sandpool/lifetime/wait"
)

// Control is where the sentry of a sandbox takes calls, as runsc's own commands make them, but without a process for each.
type Control struct {
	ID     string // of the sandbox
	Socket string // path
}

// request is one JSON value, with files beside its first byte.
type request struct {
	Method string `json:"method"`
	Arg    any    `json:"arg"`
}

// reply is the answer, also as JSON.
type reply struct {
	Success bool            `json:"success"`
	Err     string          `json:"err"`
	Result  json.RawMessage `json:"result"`
}

// SentryError is why a sentry did not do what it was asked to.
type SentryError string

func (e SentryError) Error() string { return "the sentry says: " + string(e) }

// ErrSentryGone is that a sandbox's sentry hung up or has no control socket any more.
var ErrSentryGone = errdefs.ErrFailedPrecondition.WithMessage("its sentry has ended")

// longPast is a deadline that ends what waits.
var longPast = time.Unix(1, 0)

// call has the sentry do what a method names. result may be nil.
func (c Control) call(ctx context.Context, method string, arg, result any) error {
	conn, err := c.begin(ctx, method, arg, nil)
	if err == nil {
		err = conn.await(ctx, result)
	}
	if err != nil && context.Cause(ctx) != nil {
		return context.Cause(ctx)
	}
	return err
}

// begin sends a request, and with it files, which may be closed then. The answer must be awaited.
func (c Control) begin(ctx context.Context, method string, arg any, files []*os.File) (pending, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return pending{}, err
	}
	if err := send(ctx, conn, method, arg, files); err != nil {
		_ = conn.Close()
		return pending{}, err
	}
	return pending{conn}, nil
}

// dial connects to the sentry, which may have more to accept than its socket holds.
func (c Control) dial(ctx context.Context) (*net.UnixConn, error) {
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.Socket)
		switch {
		case err == nil:
			return conn.(*net.UnixConn), nil
		case errors.Is(err, unix.EAGAIN):
			err = wait.Sleep(ctx, wait.Interval)
		case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
			return nil, ErrSentryGone
		}
		if err != nil {
			return nil, fmt.Errorf("connect to the sentry: %w", err)
		}
	}
}

// tell is call of what has no arguments and no result. It is sent as a whole or not at all; after an error nobody knows whether what was sent
// was done.
func (c Control) tell(ctx context.Context, method string) (sent bool, err error) {
	conn, err := c.begin(ctx, method, nil, nil)
	if err == nil {
		sent, err = true, conn.await(ctx, nil)
	}
	return sent, err
}

// pending is a request that was sent.
type pending struct{ conn *net.UnixConn }

// await waits for the answer until ctx ends. result may be nil.
func (p pending) await(ctx context.Context, result any) error {
	defer func() { _ = p.conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = p.conn.SetReadDeadline(longPast) })()
	return receive(p.conn, result)
}

func send(ctx context.Context, conn *net.UnixConn, method string, arg any, files []*os.File) error {
	defer context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(longPast) })()
	data, err := json.Marshal(request{method, arg})
	if err != nil {
		return fmt.Errorf("ask the sentry: %w", err)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	n, _, err := conn.WriteMsgUnix(data, rights, nil)
	if err == nil && n < len(data) { // even writing nothing fails once the sentry has answered and hung up
		_, err = conn.Write(data[n:])
	}
	return conversation(err)
}

// receive waits for the answer to a request.
func receive(conn *net.UnixConn, result any) error {
	var reply reply
	if err := json.NewDecoder(conn).Decode(&reply); err != nil {
		return conversation(err)
	}
	if !reply.Success {
		return SentryError(reply.Err)
	}
	if result == nil {
		return nil
	}
	return conversation(json.Unmarshal(reply.Result, result))
}

// conversation says what went wrong between the daemon and a sentry.
func conversation(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return ErrSentryGone
	default:
		return fmt.Errorf("ask the sentry: %w", err)
	}
}
