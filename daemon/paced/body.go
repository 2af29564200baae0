// Package paced reads bodies of any length from clients that have to keep a pace.
package paced

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// Least is how many bytes of a body have to come in each pace that the daemon waits for them.
const Least = 1 << 10

// Body is a request's body. Only the time counts in which the daemon waits for it.
type Body struct {
	body    io.Reader
	control *http.ResponseController
	pace    time.Duration // in which Least bytes have to come
	patient time.Duration // how long the next Least bytes may still take
	came    int           // of them

	mu           sync.Mutex
	begun, whole bool // it was read, and has come to its end
	stopped      bool // it is not wanted any more
}

// New makes a Body of a request's.
func New(w http.ResponseWriter, r *http.Request, pace time.Duration) *Body {
	return &Body{body: r.Body, control: http.NewResponseController(w), pace: pace, patient: pace}
}

// UnreadError is of a request whose client may still send its body.
type UnreadError struct{ error }

func (e *UnreadError) Unwrap() error { return e.error }

// Failed is err with the news that not all of the body has come, if it has not.
func (b *Body) Failed(err error) error {
	if b.begun && !b.whole {
		return &UnreadError{err}
	}
	return err
}

// Read implements io.Reader. Its errors are of class InvalidArgument.
func (b *Body) Read(p []byte) (int, error) {
	began := time.Now()
	if err := b.wait(began.Add(b.patient)); err != nil {
		return 0, err
	}
	n, err := b.body.Read(p)
	b.patient -= time.Since(began)
	if b.came += n; b.came >= Least {
		b.patient, b.came = b.pace, 0
	}
	switch {
	case errors.Is(err, io.EOF):
		return n, b.end(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("body: fewer than %d bytes of it came in %s", Least, b.pace))
	case err != nil:
		return n, errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("body: %v", err))
	default:
		return n, nil
	}
}

// wait sets the time by which more has to come.
func (b *Body) wait(until time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.begun = true; b.stopped {
		return errors.New("it is not wanted any more")
	}
	return b.control.SetReadDeadline(until)
}

// end notes that all has come. Later reads on the connection are net/http's own, which takes a missed deadline for a client that went away.
func (b *Body) end(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.whole = true
	if failed := b.control.SetReadDeadline(time.Time{}); failed != nil {
		return failed
	}
	return err
}

// Stop has a Read that waits return. What has not come by then is not read any more.
func (b *Body) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped = true; !b.whole {
		_ = b.control.SetReadDeadline(time.Unix(1, 0)) // long past; an error means that it is closed
	}
}
