// Package openapitest checks answers of the API against its description.
package openapitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"sandpool/daemon/openapi"
)

// Checker checks answers. All methods may be called at once.
type Checker struct {
	operations []operation

	mu       sync.Mutex
	answered map[string]bool // by the operations' names, and with a success
}

type operation struct {
	ID        string              `json:"operationId"`
	Responses map[string]response `json:"responses"` // by status

	method string
	path   []string // its segments
}

// response is what an answer may be: nothing, or one of some types of content.
type response struct {
	Ref     string `json:"$ref"`
	Content map[string]struct {
		Schema json.RawMessage `json:"schema"`
	} `json:"content"`

	schemas map[string]*jsonschema.Schema // by type of content; nil for any
}

// location is where the description lies for its own references.
const location = "mem://description/openapi.json"

// New reads the description.
func New() (*Checker, error) {
	compiler, err := newCompiler()
	if err != nil {
		return nil, err
	}
	var document struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct{ Responses map[string]response }
	}
	if err := json.Unmarshal([]byte(openapi.Document), &document); err != nil {
		return nil, fmt.Errorf("read description: %w", err)
	}
	c := &Checker{answered: map[string]bool{}}
	for path, item := range document.Paths {
		for method, text := range item {
			if method == "parameters" {
				continue
			}
			o := operation{method: strings.ToUpper(method), path: strings.Split(path, "/")}
			if err := json.Unmarshal(text, &o); err != nil {
				return nil, fmt.Errorf("read %s %s: %w", method, path, err)
			}
			for status, r := range o.Responses {
				at := []string{"paths", path, method, "responses", status}
				if name, is := strings.CutPrefix(r.Ref, "#/components/responses/"); is {
					r, at = document.Components.Responses[name], []string{"components", "responses", name}
				}
				if o.Responses[status], err = r.compile(compiler, at); err != nil {
					return nil, fmt.Errorf("%s %s, %s: %w", method, path, status, err)
				}
			}
			c.operations = append(c.operations, o)
		}
	}
	return c, nil
}

// newCompiler knows the description, where no object has more than what is said of it: daemon and description are of one version.
func newCompiler() (*jsonschema.Compiler, error) {
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(openapi.Document))
	if err != nil {
		return nil, fmt.Errorf("read description: %w", err)
	}
	closeObjects(document)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	compiler.AssertContent()
	if err := compiler.AddResource(location, document); err != nil {
		return nil, fmt.Errorf("read description: %w", err)
	}
	return compiler, nil
}

func closeObjects(value any) {
	switch value := value.(type) {
	case map[string]any:
		if _, said := value["additionalProperties"]; !said && value["properties"] != nil {
			value["additionalProperties"] = false
		}
		for _, inner := range value {
			closeObjects(inner)
		}
	case []any:
		for _, inner := range value {
			closeObjects(inner)
		}
	}
}

// compile reads the schemas of a response, which is at some place in the description.
func (r response) compile(compiler *jsonschema.Compiler, at []string) (response, error) {
	r.schemas = map[string]*jsonschema.Schema{}
	for kind, content := range r.Content {
		if content.Schema == nil {
			r.schemas[kind] = nil
			continue
		}
		at := location + "#/" + pointer(slices.Concat(at, []string{"content", kind, "schema"}))
		schema, err := compiler.Compile(at)
		if err != nil {
			return r, fmt.Errorf("compile schema: %w", err)
		}
		r.schemas[kind] = schema
	}
	return r, nil
}

// pointer is the JSON pointer of a place, as the end of a URL.
func pointer(names []string) string {
	var escaped []string
	for _, name := range names {
		escaped = append(escaped, url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(name)))
	}
	return strings.Join(escaped, "/")
}

// Check tells in which way an answer is not as described.
func (c *Checker) Check(method, path string, status int, header http.Header, body []byte) error {
	o, err := c.operation(method, path)
	if err != nil {
		return err
	}
	response, said := o.Responses[strconv.Itoa(status)]
	if !said && status >= http.StatusBadRequest {
		response, said = o.Responses["default"]
	}
	if !said {
		return fmt.Errorf("%s is answered with %d, which is not described", o.ID, status)
	}
	if err := response.check(header.Get("Content-Type"), body); err != nil {
		return fmt.Errorf("%s, answer %d %q: %w", o.ID, status, body, err)
	}
	if status < http.StatusBadRequest {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.answered[o.ID] = true
	}
	return nil
}

// Unanswered returns the names of the operations that were never answered with a success.
func (c *Checker) Unanswered() (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.operations {
		if !c.answered[o.ID] {
			names = append(names, o.ID)
		}
	}
	return names
}

// operation finds what a request asks for.
func (c *Checker) operation(method, path string) (operation, error) {
	path, _, _ = strings.Cut(path, "?")
	segments := strings.Split(path, "/")
	fits := func(o operation) bool {
		return o.method == method && slices.EqualFunc(o.path, segments, func(want, got string) bool { return want == got || strings.HasPrefix(want, "{") })
	}
	i := slices.IndexFunc(c.operations, fits)
	if i < 0 {
		return operation{}, fmt.Errorf("%s %s is not described", method, path)
	}
	return c.operations[i], nil
}

func (r response) check(contentType string, body []byte) error {
	if len(r.schemas) == 0 {
		if len(body) > 0 {
			return fmt.Errorf("has content of type %q, want none", contentType)
		}
		return nil
	}
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("content type %q: %w", contentType, err)
	}
	schema, said := r.schemas[kind]
	switch {
	case !said:
		return fmt.Errorf("content type is %s, want one of %v", kind, slices.Sorted(maps.Keys(r.schemas)))
	case schema == nil:
		return nil
	case kind == "text/plain":
		return schema.Validate(string(body))
	}
	for values := json.NewDecoder(bytes.NewReader(body)); ; {
		var text json.RawMessage
		if err := values.Decode(&text); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("read value: %w", err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err == nil {
			err = schema.Validate(value)
		}
		if err != nil {
			return err
		}
	}
}
