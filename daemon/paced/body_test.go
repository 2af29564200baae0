package paced

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/containerd/errdefs"
)

// deadlines are what is set on a connection.
type deadlines struct {
	http.ResponseWriter
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

func body(from io.Reader) (*Body, *deadlines) {
	d := &deadlines{ResponseWriter: httptest.NewRecorder()}
	return New(d, httptest.NewRequest(http.MethodPut, "/", from), time.Minute), d
}

// TestABodySaysWhetherItsClientStillSends is for the answer: who still sends may not look for it.
func TestABodySaysWhetherItsClientStillSends(t *testing.T) {
	failed := errors.New("no room")
	unread := func(err error) bool {
		_, is := errors.AsType[*UnreadError](err)
		return is && errors.Is(err, failed)
	}
	b, d := body(strings.NewReader(strings.Repeat("a", 3*Least)))
	if unread(b.Failed(failed)) {
		t.Error("nothing was asked of it yet")
	}
	if _, err := io.CopyN(io.Discard, b, Least); err != nil || !unread(b.Failed(failed)) {
		t.Error("it has not come to its end:", err)
	}
	if _, err := io.Copy(io.Discard, b); err != nil || unread(b.Failed(failed)) {
		t.Error("it has come to its end:", err)
	}
	if last := d.set[len(d.set)-1]; !last.IsZero() {
		t.Errorf("the deadline %s is left for net/http", last)
	}
}

func TestABodyThatBreaksOffIsItsSendersMatter(t *testing.T) {
	for _, broken := range []error{os.ErrDeadlineExceeded, io.ErrUnexpectedEOF} {
		b, _ := body(iotest.ErrReader(broken))
		if _, err := io.Copy(io.Discard, b); !errdefs.IsInvalidArgument(err) || !strings.HasPrefix(err.Error(), "body: ") {
			t.Error(broken, "became", err)
		}
	}
	b, d := body(strings.NewReader("a"))
	b.Stop()
	if _, err := b.Read(make([]byte, 1)); err == nil || len(d.set) != 1 {
		t.Error("it is read on after it was stopped:", err)
	}
}
