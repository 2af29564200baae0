package files

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"sandpool/daemon/wire"
)

// The errors of a request that wants another file than there is, or another part of it.
var (
	ErrOther = errors.New("the file is another one by now: its ETag or time does not fit If-Match or If-Unmodified-Since")
	ErrRange = errors.New("the header Range asks for what the file does not have")
)

// ServeContent answers with a file's content, or with a part of it, or with nothing if the client has it already.
func ServeContent(w http.ResponseWriter, r *http.Request, start Start, op Op) error {
	content, err := Open(r.Context(), start, op)
	if err != nil {
		return err
	}
	defer content.Close() //nolint:errcheck // what the client did not get shows in the length
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("ETag", content.File.ETag)
	if strings.Contains(r.Header.Get("Range"), ",") {
		r.Header.Del("Range") // of several parts it gets all, as HTTP allows: they would have to be sought back and forth
	}
	if content.File.Size > 0 {
		shaped := &shapedAnswer{ResponseWriter: w}
		http.ServeContent(shaped, r, "", content.File.ModifiedAt, content)
		return shaped.err
	}
	// It is empty, or one of those that have no size until they are read, as in /proc.
	_, err = io.Copy(w, content)
	return broken(cmp.Or(err, content.Close()))
}

// broken is the error of an answer that has begun and cannot be ended: the client is to see that it is not whole.
func broken(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("answer broke off: %v: %w", err, context.Canceled) //nolint:errorlint // its class is not to be answered with any more
}

// shapedAnswer takes the failures of http.ServeContent, which have another shape than all errors.
type shapedAnswer struct {
	http.ResponseWriter

	err error
}

func (s *shapedAnswer) WriteHeader(status int) {
	switch status {
	case http.StatusPreconditionFailed:
		s.err = ErrOther
	case http.StatusRequestedRangeNotSatisfiable:
		s.err = ErrRange
	default:
		s.ResponseWriter.WriteHeader(status)
	}
}

func (s *shapedAnswer) Write(data []byte) (int, error) {
	if s.err != nil {
		return len(data), nil
	}
	return s.ResponseWriter.Write(data)
}

// ServeTar answers with what an operation writes, a tar stream.
func ServeTar(w http.ResponseWriter, r *http.Request, start Start, op Op) error {
	return serve(w, "application/x-tar", func(out io.Writer) error { return Copy(r.Context(), start, op, out) })
}

// ServeList answers with what an operation says of files, a line of JSON each.
func ServeList(w http.ResponseWriter, r *http.Request, start Start, op Op) error {
	return serve(w, "application/x-ndjson", func(out io.Writer) error {
		encoder := json.NewEncoder(out)
		return Each(r.Context(), start, op, func(f wire.File) error { return encoder.Encode(f) })
	})
}

// serve answers with what do writes. Only an error before that can still be the answer.
func serve(w http.ResponseWriter, kind string, do func(io.Writer) error) error {
	out := &begun{to: w}
	w.Header().Set("Content-Type", kind)
	err := do(out)
	if out.begun {
		if err != nil {
			_ = http.NewResponseController(w).Flush() // what there is may say why
		}
		return broken(err)
	}
	if err != nil {
		w.Header().Del("Content-Type")
	}
	return err
}

// begun notes whether an answer has begun.
type begun struct {
	to    io.Writer
	begun bool
}

func (b *begun) Write(data []byte) (int, error) {
	b.begun = true
	return b.to.Write(data)
}
