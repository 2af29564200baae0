package processes

import (
	"context"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/containerd/errdefs"

	"sandpool/runtime"
)

// port is a connection to a TCP port of a sandbox, as a process that copies its input there, and what comes from there to its output.
type port struct {
	net.Conn

	out io.Writer
}

// Port joins a client to a connection, which ends with it. The process ends, with code 0, when the sandbox's program ends the connection.
func Port(conn net.Conn, spec runtime.ExecSpec) Process {
	go func() {
		if _, err := io.Copy(conn, spec.Stdin); err != nil {
			_, _ = io.Copy(io.Discard, spec.Stdin)
			return
		}
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // the reading end says what became of the connection
		}
	}()
	return port{conn, spec.Stdout}
}

// Wait passes on what comes until there is no more, or ctx ends.
func (p port) Wait(ctx context.Context) (int, error) {
	defer context.AfterFunc(ctx, func() { _ = p.Close() })()
	_, err := io.Copy(p.out, p.Conn)
	_ = p.Close()
	if cause := context.Cause(ctx); cause != nil {
		return 0, cause
	}
	if err != nil {
		return 0, fmt.Errorf("carry the connection: %w", err)
	}
	return 0, nil
}

// Resize implements Process.
func (p port) Resize(context.Context, uint16, uint16) error { return errNoProcess }

// Signal implements Process.
func (p port) Signal(context.Context, syscall.Signal) error { return errNoProcess }

var errNoProcess = errdefs.ErrFailedPrecondition.WithMessage("a connection has neither a terminal nor signals")
