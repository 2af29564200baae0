package openapi_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sandpool/daemon/openapi"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// bodies are the types of the API's bodies. TestSchemasOfTypes says which one is missing here.
var bodies = []reflect.Type{
	reflect.TypeFor[wire.ClaimRequest](), reflect.TypeFor[wire.ClaimFile](), reflect.TypeFor[wire.Claim](), reflect.TypeFor[wire.Phases](), reflect.TypeFor[wire.ClaimList](),
	reflect.TypeFor[wire.ExecRequest](), reflect.TypeFor[wire.ProcessRequest](), reflect.TypeFor[wire.Process](), reflect.TypeFor[wire.ProcessList](),
	reflect.TypeFor[wire.ProcessOutput](), reflect.TypeFor[wire.SignalRequest](), reflect.TypeFor[wire.ResizeRequest](),
	reflect.TypeFor[wire.File](), reflect.TypeFor[wire.FileEvent](),
	reflect.TypeFor[wire.ExtendRequest](), reflect.TypeFor[wire.CheckpointRequest](), reflect.TypeFor[wire.Checkpoint](), reflect.TypeFor[wire.CheckpointList](), reflect.TypeFor[wire.ForkRequest](),
	reflect.TypeFor[wire.Event](),
	reflect.TypeFor[wire.NetworkRules](), reflect.TypeFor[wire.Network](), reflect.TypeFor[wire.NetworkLayer](), reflect.TypeFor[wire.NetworkName](), reflect.TypeFor[wire.NetworkSecret](), reflect.TypeFor[wire.BoundSecret](), reflect.TypeFor[wire.BoundSecrets](),
	reflect.TypeFor[wire.NetworkEntry](), reflect.TypeFor[wire.NetworkAddress](), reflect.TypeFor[wire.NetworkWhy](),
	reflect.TypeFor[wire.Pool](), reflect.TypeFor[wire.PoolChange](), reflect.TypeFor[wire.PoolList](),
	reflect.TypeFor[wire.Template](), reflect.TypeFor[wire.TemplateList](), reflect.TypeFor[wire.TemplateCheck](), reflect.TypeFor[wire.TemplateStep](),
	reflect.TypeFor[wire.Image](), reflect.TypeFor[wire.ImageList](),
	reflect.TypeFor[wire.Info](), reflect.TypeFor[wire.Canary](), reflect.TypeFor[wire.Promised](), reflect.TypeFor[wire.Error](),
}

// object is a JSON object.
type object = map[string]any

func document(t *testing.T) object {
	t.Helper()
	var doc object
	if err := json.Unmarshal([]byte(openapi.Document), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// at returns what is at a path of names in an object.
func at(t *testing.T, o object, names ...string) object {
	t.Helper()
	for _, name := range names {
		inner, is := o[name].(object)
		if !is {
			t.Fatalf("no object at %v", names)
		}
		o = inner
	}
	return o
}

// TestSchemasOfTypes holds each schema to the Go type that is encoded and decoded: its fields, their types, and which may be left out.
func TestSchemasOfTypes(t *testing.T) {
	doc := document(t)
	schemas := at(t, doc, "components", "schemas")
	structs, words := declared(t)
	want := slices.Concat([]string{"Duration"}, structs, slices.Collect(maps.Keys(words)))
	for name := range schemas {
		if !slices.Contains(want, name) {
			t.Errorf("schema %s: daemon/wire has no such type", name)
		}
	}
	for _, name := range want {
		if schemas[name] == nil {
			t.Errorf("wire.%s has no schema", name)
		}
	}
	for name, values := range words {
		if got := fmt.Sprint(at(t, schemas, name)["enum"]); got != fmt.Sprint(values) {
			t.Errorf("schema %s has the values %s, want %s", name, got, values)
		}
	}
	for _, name := range structs {
		i := slices.IndexFunc(bodies, func(of reflect.Type) bool { return of.Name() == name })
		if i < 0 {
			t.Errorf("wire.%s is not listed in this test", name)
			continue
		}
		checkStruct(t, doc, name, at(t, schemas, name), bodies[i])
	}
}

// declared returns the structs of daemon/wire that are bodies or parts of them, and the constants of its types of text, in their order.
func declared(t *testing.T) (structs []string, words map[string][]string) {
	t.Helper()
	words = map[string][]string{}
	paths, err := filepath.Glob("../wire/*.go")
	if err != nil || len(paths) == 0 {
		t.Fatalf("find daemon/wire: %v", err)
	}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				if of, is := n.Type.(*ast.StructType); is && slices.ContainsFunc(of.Fields.List, func(f *ast.Field) bool { return f.Tag != nil }) {
					structs = append(structs, n.Name.Name)
				}
			case *ast.ValueSpec:
				of, typed := n.Type.(*ast.Ident)
				if literal, is := first(n.Values).(*ast.BasicLit); typed && is && literal.Kind == token.STRING {
					value, _ := strconv.Unquote(literal.Value)
					words[of.Name] = append(words[of.Name], value)
				}
			}
			return true
		})
	}
	return structs, words
}

func first(values []ast.Expr) ast.Expr {
	if len(values) == 0 {
		return nil
	}
	return values[0]
}

func checkStruct(t *testing.T, doc object, name string, schema object, of reflect.Type) {
	t.Helper()
	properties := at(t, schema, "properties")
	var required, all []string
	for _, field := range reflect.VisibleFields(of) {
		if field.Anonymous {
			continue
		}
		key, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		all = append(all, key)
		if !strings.Contains(options, "omit") {
			required = append(required, key)
		}
		property, is := properties[key].(object)
		if !is {
			t.Errorf("schema %s has no %s", name, key)
			continue
		}
		if wrong := mismatch(t, doc, property, field.Type); wrong != "" {
			t.Errorf("schema %s, %s: %s", name, key, wrong)
		}
	}
	for key := range properties {
		if !slices.Contains(all, key) {
			t.Errorf("schema %s: wire.%s has no %s", name, of.Name(), key)
		}
	}
	var got []string
	for _, key := range list(schema["required"]) {
		got = append(got, fmt.Sprint(key))
	}
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(required))) {
		t.Errorf("schema %s requires %v, want %v", name, got, required)
	}
	if schema["type"] != "object" {
		t.Errorf("schema %s: type is %v", name, schema["type"])
	}
}

func list(value any) []any {
	all, _ := value.([]any)
	return all
}

const schemaRef = "#/components/schemas/"

// mismatch says in which way a schema is not that of a Go type, "" if in none.
func mismatch(t *testing.T, doc, schema object, of reflect.Type) string {
	t.Helper()
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	ref, isRef := strings.CutPrefix(fmt.Sprint(schema["$ref"]), schemaRef)
	if isRef && strings.Contains(ref, "/") { // a property of another schema
		return mismatch(t, doc, at(t, doc, append([]string{"components", "schemas"}, strings.Split(ref, "/")...)...), of)
	}
	named := of == reflect.TypeFor[lifetime.Duration]() || strings.HasSuffix(of.PkgPath(), "/wire")
	if named || isRef {
		return differ("$ref", schema["$ref"], schemaRef+of.Name())
	}
	switch {
	case of == reflect.TypeFor[time.Time]():
		return differ("type", schema["type"], "string") + differ("format", schema["format"], "date-time")
	case of == reflect.TypeFor[[]byte]():
		return differ("type", schema["type"], "string") + differ("contentEncoding", schema["contentEncoding"], "base64")
	case of.Kind() == reflect.Slice:
		return differ("type", schema["type"], "array") + mismatch(t, doc, at(t, schema, "items"), of.Elem())
	case of.Kind() == reflect.Map:
		return differ("type", schema["type"], "object") + mismatch(t, doc, at(t, schema, "additionalProperties"), of.Elem())
	case of.Kind() == reflect.Uint16 || of.Kind() == reflect.Uint32:
		most := float64(uint64(1)<<of.Bits() - 1)
		return differ("type", schema["type"], "integer") + differ("minimum", schema["minimum"], 0.0) + differ("maximum", schema["maximum"], most)
	case of.Kind() == reflect.Uint64:
		return differ("type", schema["type"], "integer") + differ("minimum", schema["minimum"], 0.0)
	}
	return differ("type", schema["type"], kinds[of.Kind()])
}

var kinds = map[reflect.Kind]string{
	reflect.String: "string", reflect.Bool: "boolean", reflect.Int: "integer", reflect.Int64: "integer", reflect.Float64: "number",
}

func differ(what string, got, want any) string {
	if got == want {
		return ""
	}
	return fmt.Sprintf("%s is %v, want %v. ", what, got, want)
}

// TestRequestsAreClosed holds that what a request may have is all said, and that answers may get more.
func TestRequestsAreClosed(t *testing.T) {
	schemas := at(t, document(t), "components", "schemas")
	closed := map[string]bool{}
	for _, path := range at(t, document(t), "paths") {
		for _, operation := range path.(object) {
			if body, is := operation.(object); is && body["requestBody"] != nil {
				closeOver(schemas, body["requestBody"], closed)
			}
		}
	}
	for name, schema := range schemas {
		if _, isObject := schema.(object)["properties"]; isObject && (schema.(object)["additionalProperties"] == false) != closed[name] {
			t.Errorf("schema %s: additionalProperties is %v; part of a request: %v", name, schema.(object)["additionalProperties"], closed[name])
		}
	}
}

var reference = regexp.MustCompile(`#/components/schemas/(\w+)`)

// closeOver notes which schemas a value leads to.
func closeOver(schemas object, value any, found map[string]bool) {
	text, _ := json.Marshal(value)
	for _, match := range reference.FindAllStringSubmatch(string(text), -1) {
		if name := match[1]; !found[name] {
			found[name] = true
			closeOver(schemas, schemas[name], found)
		}
	}
}

// TestOperations holds what all operations have: a name of their own, all parameters of their path, and the one shape of errors.
func TestOperations(t *testing.T) {
	doc := document(t)
	parameters := at(t, doc, "components", "parameters")
	names := map[any]bool{}
	for path, item := range at(t, doc, "paths") {
		var declared []string
		for _, p := range list(item.(object)["parameters"]) {
			parameter := p.(object)
			if ref, is := parameter["$ref"].(string); is {
				parameter = at(t, parameters, filepath.Base(ref))
			}
			if parameter["in"] == "path" {
				declared = append(declared, fmt.Sprintf("{%s}", parameter["name"]))
			}
		}
		if want := regexp.MustCompile(`\{\w+\}`).FindAllString(path, -1); !slices.Equal(declared, want) {
			t.Errorf("%s declares %v", path, declared)
		}
		for method, o := range item.(object) {
			if method == "parameters" {
				continue
			}
			operation := o.(object)
			if name := operation["operationId"]; name == nil || names[name] {
				t.Errorf("%s %s: operationId %v is not its own", method, path, name)
			}
			names[operation["operationId"]] = true
			if at(t, operation, "responses", "default")["$ref"] != "#/components/responses/Error" {
				t.Errorf("%s %s has no default response", method, path)
			}
		}
	}
}

// TestBounds holds the bounds that the code has by name.
func TestBounds(t *testing.T) {
	schemas := at(t, document(t), "components", "schemas")
	for _, bound := range []struct {
		got  any
		want int
	}{
		{at(t, schemas, "ForkRequest", "properties", "count")["maximum"], wire.MaxForks},
		{at(t, schemas, "ClaimRequest", "properties", "metadata")["maxProperties"], wire.MaxMetadata},
	} {
		if bound.got != float64(bound.want) {
			t.Errorf("a bound is %v, want %d", bound.got, bound.want)
		}
	}
	for text, want := range map[string]int{fmt.Sprintf("at most %d bytes of input", wire.MaxBody): 1, fmt.Sprintf("at most %d bytes each, and %d in all", wire.MaxArgument, wire.MaxCommand): 1,
		fmt.Sprintf("a payload of at most %d bytes", wire.MaxFrame): 1, wire.DefaultSocket: 1, fmt.Sprintf("%q", wire.ExecProtocol): 1, fmt.Sprintf("%q", wire.CursorHeader): 1} {
		if got := strings.Count(strings.ToLower(openapi.Document), strings.ToLower(text)); got != want {
			t.Errorf("the description has %q %d times", text, got)
		}
	}
}
