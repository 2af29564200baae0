package runtime

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
)

// sentryCall is what runsc's own commands send to a sentry's control socket: one JSON value, with files beside its first byte.
type sentryCall struct {
	Method string `json:"method"`
	Arg    any    `json:"arg"`
}

// sentryReply is the answer, also as JSON.
type sentryReply struct {
	Success bool            `json:"success"`
	Err     string          `json:"err"`
	Result  json.RawMessage `json:"result"`
}

// sentryError is why a sentry did not do what it was asked to.
type sentryError string

func (e sentryError) Error() string { return "the sentry says: " + string(e) }

// longPast is a deadline that ends what waits.
var longPast = time.Unix(1, 0)

// errSentryGone is that a sandbox's sentry hung up or has no control socket any more.
var errSentryGone = errdefs.ErrFailedPrecondition.WithMessage("its sentry has ended")

// askSentry has the sentry of a sandbox do what a method names, as runsc would, but without a process of its own. result may
// be nil.
func (e *Engine) askSentry(ctx context.Context, id, method string, arg, result any) error {
	conn, err := e.dialSentry(ctx, id)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(longPast) })()
	if err = send(ctx, conn, method, arg, nil); err == nil {
		err = receive(conn, result)
	}
	if err != nil && context.Cause(ctx) != nil {
		return context.Cause(ctx)
	}
	return err
}

// send sends a request, and with it files, which may be closed then.
func send(ctx context.Context, conn *net.UnixConn, method string, arg any, files []*os.File) error {
	defer context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(longPast) })()
	data, err := json.Marshal(sentryCall{method, arg})
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
	var reply sentryReply
	if err := json.NewDecoder(conn).Decode(&reply); err != nil {
		return conversation(err)
	}
	if !reply.Success {
		return sentryError(reply.Err)
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
		return errSentryGone
	default:
		return fmt.Errorf("ask the sentry: %w", err)
	}
}

func (e *Engine) dialSentry(ctx context.Context, id string) (*net.UnixConn, error) {
	path, err := e.sentrySocket(id)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return nil, errSentryGone
	case err != nil:
		return nil, fmt.Errorf("connect to the sentry: %w", err)
	}
	return conn.(*net.UnixConn), nil
}

// sentrySocket returns where the sentry of a sandbox listens. runsc takes another folder when the path in its root would be too
// long for a socket, and notes it down.
func (e *Engine) sentrySocket(id string) (string, error) {
	state, err := e.runscState(id)
	if errors.Is(err, os.ErrNotExist) {
		return "", errSentryGone
	}
	if err == nil && state.Sandbox.ControlSocketPath == "" {
		err = fmt.Errorf("runsc's state of sandbox %s names no socket", id)
	}
	return state.Sandbox.ControlSocketPath, err
}
