package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sandpool/daemon/processes"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
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
	return decodeObject(text, into)
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

// decodeObject is strict: names are exact, known and given once, and text is UTF-8. White space alone is no body.
func decodeObject(text []byte, into any) error {
	switch text = bytes.Trim(text, " \t\r\n"); string(text) {
	case "":
		return nil
	case "null":
		return invalid("body: is JSON null, want an object")
	}
	if err := json.Unmarshal(text, into, json.RejectUnknownMembers(true), json.WithUnmarshalers(lists)); err != nil {
		return badBody(err)
	}
	return nil
}

// maxWords is more than Linux takes of a command, where each word has a pointer and a byte that ends it. In JSON a list of empty words
// is short, and takes many times its size in memory.
const maxWords = wire.MaxCommand / 9

var lists = json.UnmarshalFromFunc(func(dec *jsontext.Decoder, words *[]string) error {
	if dec.PeekKind() != jsontext.KindBeginArray {
		return errors.ErrUnsupported // the default says what is wrong
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	*words = []string{}
	for dec.PeekKind() != jsontext.KindEndArray {
		if len(*words) == maxWords {
			return processes.TooLong(fmt.Sprintf("a list has more than %d words", maxWords))
		}
		var word string
		if err := json.UnmarshalDecode(dec, &word); err != nil {
			return err
		}
		*words = append(*words, word)
	}
	_, err := dec.ReadToken()
	return err
})

// badBody says what is wrong with a body in the terms of its sender.
func badBody(err error) error {
	if long, ok := errors.AsType[processes.TooLong](err); ok {
		return long
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fmt.Errorf("body is over the limit of %d bytes: send less, and give a command its data by its standard input: %w", large.Limit, err)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return invalid("body: did not arrive within %s", bodyTimeout)
	}
	if wrong, ok := errors.AsType[*json.SemanticError](err); ok {
		return badValue(wrong)
	}
	if wrong, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		if errors.Is(wrong, jsontext.ErrDuplicateName) {
			return invalid("body: field %.64q is given twice", wrong.JSONPointer.LastToken())
		}
		return invalid("body: %s%v, after %d bytes", field(wrong.JSONPointer), wrong.Err, wrong.ByteOffset)
	}
	return invalid("body: %v", err)
}

// badValue is badBody for JSON that says what it must not.
func badValue(wrong *json.SemanticError) error {
	switch {
	case errors.Is(wrong, json.ErrUnknownName):
		return invalid("body: unknown field %.64q", wrong.JSONPointer.LastToken())
	case wrong.Err != nil && wrong.JSONKind == jsontext.KindNumber && wrong.GoType != reflect.TypeFor[lifetime.Duration]():
		return invalid("body: %s%.64s: %v, want a whole number", field(wrong.JSONPointer), wrong.JSONValue, wrong.Err)
	case wrong.Err != nil && wrong.JSONKind == jsontext.KindString:
		return invalid("body: %s%v", field(wrong.JSONPointer), wrong.Err)
	default:
		return invalid("body: %sis a JSON %s, want %s", field(wrong.JSONPointer), kinds[wrong.JSONKind], want(wrong.GoType))
	}
}

var kinds = map[jsontext.Kind]string{
	jsontext.KindNull: "null", jsontext.KindFalse: "boolean", jsontext.KindTrue: "boolean", jsontext.KindString: "string", jsontext.KindNumber: "number",
	jsontext.KindBeginObject: "object", jsontext.KindBeginArray: "array",
}

// field begins a sentence about the value at a place in the body. What is nested deeper than any body of ours is left out.
func field(at jsontext.Pointer) string {
	if at == "" {
		return ""
	}
	tokens := slices.Collect(at.Tokens())
	return fmt.Sprintf("%.64s: ", strings.Join(tokens[:min(len(tokens), 2)], "."))
}

// want names the JSON that a Go type is read from.
func want(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
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
