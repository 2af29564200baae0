package api

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// leastPace is how many bytes of a long body have to come in each pace that the daemon waits for them.
const leastPace = 1 << 10

// pacedBody is a body of any length, whose client keeps a pace. Only the time counts in which the daemon waits for it.
type pacedBody struct {
	body    io.Reader
	control *http.ResponseController
	pace    time.Duration // in which leastPace bytes have to come
	patient time.Duration // how long the next leastPace bytes may still take
	came    int           // of them

	mu           sync.Mutex
	begun, whole bool // it was read, and has come to its end
	stopped      bool // it is not wanted any more
}

func (a *api) newPacedBody(w http.ResponseWriter, r *http.Request) *pacedBody {
	return &pacedBody{body: r.Body, control: http.NewResponseController(w), pace: a.pace, patient: a.pace}
}

// unreadError is of a request whose client may still send its body.
type unreadError struct {
	error

	body *pacedBody
}

func (e *unreadError) Unwrap() error { return e.error }

// failed is err with the news that not all of the body has come, if it has not.
func (b *pacedBody) failed(err error) error {
	if b.begun && !b.whole {
		return &unreadError{err, b}
	}
	return err
}

// failWhileSending answers with err a client that still sends.
func (a *api) failWhileSending(w http.ResponseWriter, r *http.Request, body *pacedBody, err error) error {
	if broken := body.control.EnableFullDuplex(); broken != nil { // else net/http reads the body before it answers
		return errors.Join(err, broken)
	}
	w.Header().Set("Connection", "close")
	a.fail(w, r, err)
	readOn(r)
	return nil
}

// readOn reads on for a moment, past net/http, whose reader keeps the first error: a client that finds the connection closed while it sends may
// not look for the answer.
func readOn(r *http.Request) {
	conn, ok := r.Context().Value(connKey{}).(*refusingConn)
	if ok && conn.SetReadDeadline(time.Now().Add(turnAwayTime)) == nil {
		_, _ = io.Copy(io.Discard, conn.UnixConn)
		_ = conn.SetReadDeadline(time.Unix(1, 0)) // long past, so that net/http reads no more
	}
}

func (b *pacedBody) Read(p []byte) (int, error) {
	began := time.Now()
	if err := b.wait(began.Add(b.patient)); err != nil {
		return 0, err
	}
	n, err := b.body.Read(p)
	b.patient -= time.Since(began)
	if b.came += n; b.came >= leastPace {
		b.patient, b.came = b.pace, 0
	}
	switch {
	case errors.Is(err, io.EOF):
		return n, b.end(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, invalid("body: fewer than %d bytes of it came in %s", leastPace, b.pace)
	case err != nil:
		return n, badBody(err)
	default:
		return n, nil
	}
}

// wait sets the time by which more has to come.
func (b *pacedBody) wait(until time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.begun = true; b.stopped {
		return errors.New("it is not wanted any more")
	}
	return b.control.SetReadDeadline(until)
}

// end notes that all has come. Later reads on the connection are net/http's own, which takes a missed deadline for a client that went away.
func (b *pacedBody) end(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.whole = true
	if failed := b.control.SetReadDeadline(time.Time{}); failed != nil {
		return failed
	}
	return err
}

// Stop has a Read that waits return. What has not come by then is not read any more.
func (b *pacedBody) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped = true; !b.whole {
		_ = b.control.SetReadDeadline(time.Unix(1, 0)) // long past; an error means that it is closed
	}
}
