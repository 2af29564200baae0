// Package call bounds calls of containerd and of sandboxes by deadlines, and tells what each was, how long it took and how it ended.
package call

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc/status"
)

// CleanupTimeout bounds clean-up that is done after its caller gave up.
const CleanupTimeout = 10 * time.Second

// Op is what a call does, in words for an error.
type Op struct {
	Verb    string // one of few words
	Object  string // may be empty
	Sandbox string // the id that Object has in it, if any
}

func (o Op) String() string {
	if o.Object == "" {
		return o.Verb
	}
	return o.Verb + " " + o.Object
}

// Caller makes calls. All fields are required.
type Caller struct {
	Namespace string                                           // of containerd
	Called    func(verb string, took time.Duration, err error) // told of each call
}

// Placed is an error that knows where it happened. A call that missed its deadline there says so: With is cause at the same place.
type Placed interface {
	error
	With(cause error) error
}

// Do runs fn in the namespace and within the deadline. Errors get an errdefs class and say what was done.
func (c Caller) Do(ctx context.Context, deadline time.Duration, op Op, fn func(context.Context) error) (err error) {
	ctx, end := traced(ctx, op)
	defer func() { end(err) }()
	missed := fmt.Errorf("not done within %s: %w", deadline, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(namespaces.WithNamespace(ctx, c.Namespace), deadline, missed)
	defer cancel()
	began := time.Now()
	defer func() { c.Called(op.Verb, time.Since(began), err) }()
	if err = fn(ctx); err == nil {
		return nil
	}
	err = Native(err)
	switch cause := context.Cause(ctx); {
	case errors.Is(err, missed):
	case cause != nil:
		err = inPlace(err, cause)
	case errdefs.IsDeadlineExceeded(err) && time.Since(began) > deadline-time.Second: // containerd noticed it a moment earlier
		err = inPlace(err, missed)
	case errdefs.IsDeadlineExceeded(err):
		err = fmt.Errorf("containerd missed a deadline of its own: %w", err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// inPlace is cause, where err was.
func inPlace(err, cause error) error {
	if at, ok := errors.AsType[Placed](err); ok {
		return at.With(cause)
	}
	return cause
}

// Native gives an error that came over gRPC its errdefs class. Others keep theirs.
func Native(err error) error {
	if _, isGRPC := status.FromError(err); !isGRPC {
		return err
	}
	return errgrpc.ToNative(err)
}
