package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"

	"github.com/pelletier/go-toml/v2"

	"sandpool/runtime/hostpath"
)

// Load reads the file at path over the defaults and checks it, and the paths that it names. What a file says and what it leaves out:
//
//   - A key that it leaves out has its default, in its own pools too; only a template's image must be given.
//   - Flags of runsc are added to the default ones, and so are types of lifetimes. One that has the name of a built-in type
//     changes the keys that it gives.
//   - The limits of a template are lowered to the caps when the file leaves them out.
//   - Templates replace the default template, and pools the default pool. A file that names no pool keeps the default one as
//     long as there is a template of that name.
//
// The error joins every fault of the file, each as FILE:LINE: KEY: what is wrong and what is allowed. Only a fault of syntax,
// which has a column too, hides the others, and what is said of paths: see CheckPaths. A file larger than 1 MiB is not read, nor anything
// that is no regular file.
func Load(path string) (Config, error) {
	data, err := hostpath.ReadFile(path, maxFile)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	c, err := Parse(path, data)
	if err == nil {
		err = c.CheckPaths()
	}
	if err := errors.Join(checkFile(path), err); err != nil {
		return Config{}, err
	}
	return c, nil
}

// LoadOrDefault is Load for a file that may be missing: then there are the defaults.
func LoadOrDefault(path string) (c Config, missing bool, err error) {
	c, err = Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		c = Default()
		return c, true, errors.Join(checkFile(path), c.CheckPaths())
	}
	return c, false, err
}

// maxFile is how large a configuration file may be, in bytes.
const maxFile = 1 << 20

// Parse is Load for a file that was read already, without a look at the host; name stands for the file in messages.
func Parse(name string, data []byte) (Config, error) {
	c := Default()
	if line := tooDeep(data); line > 0 {
		return Config{}, fault{file: name, line: line, text: fmt.Sprintf("nested deeper than %d levels", maxDepth)}
	}
	c.places = findPlaces(name, data)
	if len(c.places.keys) > maxKeys {
		return Config{}, fault{file: name, text: fmt.Sprintf("more than %d keys and tables", maxKeys)}
	}
	found := &faults{places: c.places}
	decode(data, &c, found)
	c.followCaps()
	c.check(found)
	if err := found.err(); err != nil {
		return Config{}, err
	}
	c.followWarmPool()
	return c, nil
}

// decode reads data into c. It does not leave this to the decoder, which stops at the first value of a wrong type.
func decode(data []byte, c *Config, found *faults) {
	var tree map[string]any
	if err := toml.Unmarshal(data, &tree); err != nil {
		found.syntax(err)
		return
	}
	fill(reflect.ValueOf(c).Elem(), tree, "", found)
	if _, ok := c.Templates[defaultName]; !ok && !c.places.has(join("pools", defaultName)) {
		delete(c.Pools, defaultName)
	}
}

// fill puts a value of the file into dst, a part of Config. What the value leaves out stays as it is.
func fill(dst reflect.Value, value any, key string, found *faults) {
	if dst.Kind() == reflect.Slice && dst.Type().Elem().Kind() == reflect.Struct {
		fillList(dst, value, key, found)
		return
	}
	isValue := dst.Type() == reflect.TypeFor[Setting]() || dst.Type() == reflect.TypeFor[Ulimit]()
	isTable := dst.Kind() == reflect.Map || dst.Kind() == reflect.Struct && !isValue
	if !isTable {
		if wrong := assign(dst.Addr().Interface(), value, found.places.pos(key)); wrong != "" {
			found.add(key, "%s", wrong)
		}
		return
	}
	table, ok := value.(map[string]any)
	switch {
	case !ok:
		found.add(key, "is %s, want a table", describe(value))
	case dst.Kind() == reflect.Map:
		fillMap(dst, table, key, found)
	default:
		fillStruct(dst, table, key, found)
	}
}

func fillStruct(dst reflect.Value, table map[string]any, key string, found *faults) {
	fields := map[string]reflect.Value{}
	for field, value := range dst.Fields() {
		if name := field.Tag.Get("toml"); name != "" {
			fields[name] = value
		}
	}
	for name, value := range table {
		if field, ok := fields[name]; ok {
			fill(field, value, join(key, name), found)
		} else {
			found.unknown(join(key, name), slices.Sorted(maps.Keys(fields)))
		}
	}
}

func fillMap(dst reflect.Value, table map[string]any, key string, found *faults) {
	elem := dst.Type().Elem()
	adds := elem == reflect.TypeFor[Setting]() || elem == reflect.TypeFor[Lifetime]()
	if len(table) > 0 && !adds {
		dst.Set(reflect.MakeMap(dst.Type()))
	}
	for name, value := range table {
		entry := reflect.New(elem).Elem()
		presets(entry.Addr().Interface())
		if old := dst.MapIndex(reflect.ValueOf(name)); old.IsValid() {
			entry.Set(old)
		}
		fill(entry, value, join(key, name), found)
		if pool, ok := reflect.TypeAssert[*Pool](entry.Addr()); ok && !found.places.has(join(join(key, name), "min")) {
			pool.Min = pool.Target
		}
		dst.SetMapIndex(reflect.ValueOf(name), entry)
	}
}

func fillList(dst reflect.Value, value any, key string, found *faults) {
	items, ok := value.([]any)
	if !ok {
		found.add(key, "is %s, want a list of tables, each as [[%s]]", describe(value), key)
		return
	}
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", key, i)
		if _, ok := item.(map[string]any); !ok {
			found.add(at, "is %s, want a table", describe(item))
			return // the checks of those that follow would name wrong places
		}
		entry := reflect.New(dst.Type().Elem()).Elem()
		presets(entry.Addr().Interface())
		fill(entry, item, at, found)
		dst.Set(reflect.Append(dst, entry))
	}
}

// presets gives a table of the file's own the defaults that its keys have.
func presets(entry any) {
	switch entry := entry.(type) {
	case *Template:
		*entry = defaultTemplate
	case *Pool:
		*entry = defaultPool
	case *Hook:
		*entry = defaultHook
	case *Mount:
		*entry = defaultMount
	case *Secret:
		*entry = defaultSecret
	}
}
