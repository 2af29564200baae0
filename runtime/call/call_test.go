package call

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sandpool/scripts/testhost"
)

func TestMain(m *testing.M) {
	testhost.ClearEnv()
	m.Run()
}

// atDoor is an error that knows its place.
type atDoor struct{ error }

func (a atDoor) With(cause error) error { return atDoor{cause} }

func (a atDoor) Unwrap() error { return a.error }

// waits is a call that ends with its context, and says no more than that.
func waits(ctx context.Context) error {
	<-ctx.Done()
	return context.DeadlineExceeded
}

func TestErrorsOfCalls(t *testing.T) {
	cause := errors.New("the client left")
	for name, test := range map[string]struct {
		fn    func(context.Context) error
		left  bool // the caller
		is    func(error) bool
		want  string
		place bool
	}{
		"success":           {fn: func(context.Context) error { return nil }, is: func(err error) bool { return err == nil }},
		"from gRPC":         {fn: func(context.Context) error { return status.Error(codes.NotFound, "no such thing") }, is: errdefs.IsNotFound, want: "no such thing"},
		"missed":            {fn: waits, is: errdefs.IsDeadlineExceeded, want: "not done within 5ms"},
		"missed at a place": {fn: func(ctx context.Context) error { return atDoor{waits(ctx)} }, is: errdefs.IsDeadlineExceeded, want: "not done within 5ms", place: true},
		"left":              {fn: waits, left: true, is: func(err error) bool { return errors.Is(err, cause) }, want: "the client left"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if test.left {
				cancel(cause)
			}
			var told []string
			c := Caller{Namespace: "here", Called: func(verb string, _ time.Duration, err error) {
				told = append(told, verb)
				if !test.is(err) {
					t.Errorf("told of %v", err)
				}
			}}
			deadline := time.Minute
			if strings.Contains(test.want, "5ms") {
				deadline = 5 * time.Millisecond
			}
			err := c.Do(ctx, deadline, Op{Verb: "start", Object: "sandbox sb-1", Sandbox: "sb-1"}, func(ctx context.Context) error {
				if in, _ := namespaces.Namespace(ctx); in != "here" {
					t.Errorf("in namespace %q", in)
				}
				return test.fn(ctx)
			})
			if !test.is(err) || err != nil && (!strings.HasPrefix(err.Error(), "start sandbox sb-1: ") || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if _, placed := errors.AsType[atDoor](err); placed != test.place {
				t.Errorf("%v knows its place: %v", err, placed)
			}
			if strings.Join(told, ",") != "start" {
				t.Errorf("told of %q, want one start", told)
			}
		})
	}
}
