package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
	"time"

	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// bodyTimeout is how long a client may take to send a request's body.
const bodyTimeout = 10 * time.Second

// decode reads a request's body, one JSON value, into the struct that into points to. No body leaves it as it is.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	return decodeUpTo(wire.MaxBody, w, r, into)
}

// decodeUpTo is decode for a body that may have another size, in bytes.
func decodeUpTo(limit int64, w http.ResponseWriter, r *http.Request, into any) error {
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil {
		return fmt.Errorf("set read deadline: %w", err)
	}
	err := decodeValue(http.MaxBytesReader(w, r.Body, limit), into)
	// Later reads on the connection are net/http's own, which takes a missed deadline for a client that went away.
	if err := rc.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear read deadline: %w", err)
	}
	return err
}

func decodeValue(body io.Reader, into any) error {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	switch err := dec.Decode(into); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return badBody(err)
	}
	switch _, err := dec.Token(); {
	case errors.Is(err, io.EOF):
		return nil
	case isTooLarge(err):
		return badBody(err)
	default:
		return invalid("body: something follows the JSON value")
	}
}

// badBody says what is wrong with a body in the terms of its sender.
func badBody(err error) error {
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fmt.Errorf("body is over the limit of %d bytes: send less, and give a command its data by its standard input: %w", large.Limit, err)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return invalid("body: %sis a JSON %s, want %s", field(wrong.Field), wrong.Value, want(wrong.Type))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return invalid("body: did not arrive within %s", bodyTimeout)
	}
	return invalid("body: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func field(name string) string {
	if name == "" {
		return ""
	}
	return name + ": "
}

// want names the JSON that a Go type is read from.
func want(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[lifetime.Duration]():
		return "a duration as text, such as \"90s\""
	case t.Kind() == reflect.Struct:
		return "an object"
	case t.Kind() == reflect.Slice:
		return "an array"
	default:
		return "a " + t.String()
	}
}
