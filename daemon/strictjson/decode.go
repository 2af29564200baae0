// Package strictjson reads JSON of clients, and says what is wrong with it in their terms.
package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sandpool/daemon/processes"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// Decode reads one object into the struct that into points to: names are exact, known and given once, and text is UTF-8. White space alone is no body.
func Decode(text []byte, into any) error {
	switch text = bytes.Trim(text, " \t\r\n"); string(text) {
	case "":
		return nil
	case "null":
		return invalid("body: is JSON null, want an object")
	}
	if err := json.Unmarshal(text, into, json.RejectUnknownMembers(true), json.WithUnmarshalers(lists)); err != nil {
		return bad(err)
	}
	return nil
}

// MaxWords is more than Linux takes of a command, where each word has a pointer and a byte that ends it. In JSON a list of empty words
// is short, and takes many times its size in memory.
const MaxWords = wire.MaxCommand / 9

var lists = json.UnmarshalFromFunc(func(dec *jsontext.Decoder, words *[]string) error {
	if dec.PeekKind() != jsontext.KindBeginArray {
		return errors.ErrUnsupported // the default says what is wrong
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	*words = []string{}
	for dec.PeekKind() != jsontext.KindEndArray {
		if len(*words) == MaxWords {
			return processes.TooLong(fmt.Sprintf("a list has more than %d words", MaxWords))
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

// bad says what is wrong with JSON that cannot be read.
func bad(err error) error {
	if long, ok := errors.AsType[processes.TooLong](err); ok {
		return long
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

func invalid(format string, args ...any) error {
	return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf(format, args...))
}

// badValue is bad for JSON that says what it must not.
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
