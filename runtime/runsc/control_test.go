package runsc

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"sandpool/runtime/runsc/runsctest"
)

// fakeSentry answers calls in a sentry's place.
func fakeSentry(t *testing.T, answer runsctest.Answer) Control {
	t.Helper()
	c := Control{ID: "sb-fake", Socket: filepath.Join(t.TempDir(), "s")}
	runsctest.Sentry(t, c.Socket, answer)
	return c
}

func TestWhatASentryMayAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want func(pid int32, err error) bool
	}{
		"success":   {`{"success":true,"result":7}`, func(pid int32, err error) bool { return pid == 7 && err == nil }},
		"failure":   {`{"success":false,"err":"unknown method"}`, func(_ int32, err error) bool { return err == error(SentryError("unknown method")) }}, //nolint:errorlint // itself
		"odd":       {`{"success":true,"result":"seven"}`, func(_ int32, err error) bool { return err != nil && strings.Contains(err.Error(), "ask the sentry") }},
		"cut off":   {`{"success":tr`, func(_ int32, err error) bool { return errors.Is(err, ErrSentryGone) }},
		"no answer": {``, func(_ int32, err error) bool { return errdefs.IsFailedPrecondition(err) }},
		"not JSON":  {`not JSON`, func(_ int32, err error) bool { return err != nil && !errors.Is(err, ErrSentryGone) }},
	} {
		t.Run(name, func(t *testing.T) {
			c := fakeSentry(t, runsctest.Says(test.text))
			var pid int32
			if err := c.call(t.Context(), "m", struct{}{}, &pid); !test.want(pid, err) {
				t.Errorf("%d, %v", pid, err)
			}
		})
	}
}

func TestNoSentry(t *testing.T) {
	nobody := Control{ID: "sb-other", Socket: filepath.Join(t.TempDir(), "s")}
	if err := nobody.call(t.Context(), "m", struct{}{}, nil); !errors.Is(err, ErrSentryGone) {
		t.Errorf("nobody listens: %v", err)
	}
	if _, err := Root(t.TempDir()).Control("sb-other"); !errors.Is(err, ErrSentryGone) {
		t.Errorf("runsc knows of none: %v", err)
	}
}

func TestSentryThatDoesNotAnswerCostsTheDeadline(t *testing.T) {
	asked, leave := make(chan struct{}), make(chan struct{})
	c := fakeSentry(t, func(*net.UnixConn, string) { close(asked); <-leave })
	defer close(leave)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-asked
		cancel(io.ErrNoProgress)
	}()
	if err := c.call(ctx, "m", struct{}{}, nil); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("%v, want the cause", err)
	}
}
