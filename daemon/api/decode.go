package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"sandpool/daemon/strictjson"
	"sandpool/daemon/wire"
)

// bodyTimeout is how long a client may take to send a request's body.
const bodyTimeout = 10 * time.Second

// limitBody gives the client until then to send its body, whether a handler reads it or net/http does before it answers.
func limitBody(w http.ResponseWriter, r *http.Request, timeout time.Duration) error {
	if r.Body == http.NoBody {
		return nil
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return fmt.Errorf("set read deadline: %w", err)
	}
	return nil
}

// decode reads a request's body, one JSON object, into the struct that into points to. No body leaves it as it is.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	return decodeUpTo(wire.MaxBody, w, r, into)
}

// decodeUpTo is decode for a body of at most limit bytes.
func decodeUpTo(limit int64, w http.ResponseWriter, r *http.Request, into any) error {
	text, err := readBody(limit, w, r)
	if err != nil {
		return err
	}
	return strictjson.Decode(text, into)
}

// readBody reads a request's body of at most limit bytes.
func readBody(limit int64, w http.ResponseWriter, r *http.Request) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return nil, badBody(err) // with its deadline: net/http reads on before it answers
	}
	// All has come. Later reads on the connection are net/http's own, which takes a missed deadline for a client that went away.
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("clear read deadline: %w", err)
	}
	return data, nil
}

// badBody says what is wrong with a body that cannot be read.
func badBody(err error) error {
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fmt.Errorf("body is over the limit of %d bytes: send less, and give a command its data by its standard input: %w", large.Limit, err)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return invalid("body: did not arrive within %s", bodyTimeout)
	}
	return invalid("body: %v", err)
}
