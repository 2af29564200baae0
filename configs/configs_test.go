package configs

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sandpool/runtime/egress"
)

// parse reads text that has no fault.
func parse(t *testing.T, text string) Config {
	t.Helper()
	c, err := Parse("f.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// values is c without where its values came from.
func values(c Config) Config {
	c.places = places{}
	c.Runsc.Flags = maps.Clone(c.Runsc.Flags)
	for name, setting := range c.Runsc.Flags {
		c.Runsc.Flags[name] = Setting{Value: setting.Value}
	}
	return c
}

func TestDefaultsAreValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}

func TestSampleAndEmptyFileAreTheDefaults(t *testing.T) {
	for name, text := range map[string]string{"sample": Sample, "empty": ""} {
		if got := values(parse(t, text)); !reflect.DeepEqual(got, values(Default())) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, values(Default()))
		}
	}
}

// sampleWithLists is the sample with the tables that it shows as comments: those of a list stand one after the other.
func sampleWithLists(t *testing.T) string {
	t.Helper()
	sample := Sample
	for _, list := range []string{"[[hooks]]", "[[secrets]]", "[templates.default.ulimits]", "[[templates.default.mounts]]"} {
		before, tables, _ := strings.Cut(sample, "# "+list)
		tables, after, ok := strings.Cut(tables, "\n\n")
		if !ok {
			t.Fatalf("the sample shows no %s", list)
		}
		sample = before + list + strings.ReplaceAll(tables, "\n# ", "\n") + "\n\n" + after
	}
	return sample
}

func TestSampleNamesEveryKey(t *testing.T) {
	known := findPlaces("", []byte(sampleWithLists(t)))
	var walk func(reflect.Type, string)
	walk = func(typ reflect.Type, key string) {
		switch typ.Kind() {
		case reflect.Struct:
			for field := range typ.Fields() {
				if tag := field.Tag.Get("toml"); tag != "" {
					walk(field.Type, join(key, tag))
				}
			}
		case reflect.Map:
			switch typ.Elem() {
			case reflect.TypeFor[Setting]():
			case reflect.TypeFor[Lifetime]():
				for name := range builtInTypes {
					walk(typ.Elem(), join(key, name))
				}
			default:
				walk(typ.Elem(), join(key, "default"))
			}
		case reflect.Slice:
			if typ.Elem().Kind() == reflect.Struct {
				walk(typ.Elem(), key+"[0]")
				break
			}
			fallthrough
		default:
			if !known.has(key) && !known.has(strings.Replace(key, "[0]", "[1]", 1)) {
				t.Errorf("the sample leaves out %s", key)
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
}

// sized is a pool of defaults but for its size.
func sized(least, target, most int) Pool {
	p := defaultPool
	p.Min, p.Target, p.Max = least, target, most
	return p
}

func TestTemplatesAndPools(t *testing.T) {
	tests := map[string]struct {
		text      string
		templates []string
		pools     map[string]Pool
	}{
		"none":           {"", []string{"default"}, map[string]Pool{"default": sized(8, 8, 32)}},
		"pool resized":   {"[pools.default]\nmax = 9", []string{"default"}, map[string]Pool{"default": sized(8, 8, 9)}},
		"min follows":    {"[pools.default]\ntarget = 5", []string{"default"}, map[string]Pool{"default": sized(5, 5, 32)}},
		"own min":        {"[pools.default]\nmin = 0", []string{"default"}, map[string]Pool{"default": sized(0, 8, 32)}},
		"own template":   {"[templates.go]\nimage = \"x\"", []string{"go"}, map[string]Pool{}},
		"own default":    {"[templates.default]\nimage = \"x\"", []string{"default"}, map[string]Pool{"default": sized(8, 8, 32)}},
		"own pool too":   {"[templates.go]\nimage = \"x\"\n[pools.go]\ntarget = 0", []string{"go"}, map[string]Pool{"go": sized(0, 0, 32)}},
		"inline, dotted": {"templates.go = {image = 'x'}\npools.go.max = 8", []string{"go"}, map[string]Pool{"go": sized(8, 8, 8)}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := parse(t, test.text)
			if got := slices.Sorted(maps.Keys(c.Templates)); !slices.Equal(got, test.templates) {
				t.Errorf("templates %v, want %v", got, test.templates)
			}
			if !maps.Equal(c.Pools, test.pools) {
				t.Errorf("pools %v, want %v", c.Pools, test.pools)
			}
		})
	}
}

func TestRunscFlagsAndPlatform(t *testing.T) {
	c := parse(t, "[runsc]\nplatform = [\"kvm\", \"systrap\"]\n[runsc.flags]\ndebug = true\nnum-network-channels = 4\noverlay2 = 'none'\n")
	want := map[string]Setting{
		"network":              {"none", "built-in default"},
		"debug":                {"true", "f.toml:4"},
		"num-network-channels": {"4", "f.toml:5"},
		"overlay2":             {"none", "f.toml:6"},
	}
	if !maps.Equal(c.Runsc.Flags, want) {
		t.Errorf("flags %v, want %v", c.Runsc.Flags, want)
	}
	if !slices.Equal(c.Runsc.Platform, Platforms{"kvm", "systrap"}) {
		t.Errorf("platform %v", c.Runsc.Platform)
	}
}

func TestSampleTablesOfListsAreValid(t *testing.T) {
	c := parse(t, sampleWithLists(t))
	want := []Mount{
		{Type: MountBind, Source: "/srv/data", Target: "/data", ReadOnly: true},
		{Type: MountTmpfs, Target: "/scratch", ReadOnly: true, SizeMiB: 64},
	}
	if got := c.Templates["default"].Mounts; !slices.Equal(got, want) || len(c.Hooks) != 2 {
		t.Errorf("mounts %+v, want %+v; %d hooks, want 2", got, want, len(c.Hooks))
	}
	if want := map[string]Ulimit{"nofile": {Soft: 1024, Hard: 4096}, "core": {}}; !maps.Equal(c.Templates["default"].Ulimits, want) {
		t.Errorf("ulimits %v, want %v", c.Templates["default"].Ulimits, want)
	}
}

// TestSampleTemplate takes the comment away from the template that the sample ends with.
func TestSampleTemplate(t *testing.T) {
	before, template, ok := strings.Cut(Sample, "\n# [templates.python]")
	if !ok {
		t.Fatal("the sample shows no [templates.python]")
	}
	c := parse(t, before+"\n[templates.python]"+strings.ReplaceAll(template, "\n# ", "\n"))
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if p := c.Pools["python"]; p.Min != 1 || p.Target != 2 || c.Templates["python"].Network.Mode != egress.Door || c.Pools["default"].Target != 8 {
		t.Errorf("pool %+v, template %+v", p, c.Templates["python"])
	}
}

func TestResources(t *testing.T) {
	c := parse(t, "[caps]\ncpus = 0\nmemory_mib = 0\n[templates.go]\nimage = 'x'\ncpus = 2\nmemory_mib = 0\nuser = '1000:staff'\ncwd = '/srv'\nplatform = 'kvm'\nmounts = [{source = '/a', target = '/b/'}]")
	got := c.Templates["go"]
	if got.CPUs != 2 || got.MemoryMiB != 0 || got.DiskMiB != 10240 || got.PIDs != 1024 || got.User != "1000:staff" || got.Cwd != "/srv" || got.Platform != "kvm" {
		t.Errorf("template %+v", got)
	}
	if got := parse(t, "caps = {cpus = 0.5, pids = 100}").Templates["default"]; got.CPUs != 0.5 || got.PIDs != 100 || got.MemoryMiB != 2048 {
		t.Errorf("template that follows the caps: %+v", got)
	}
	if want := []Mount{{Type: MountBind, Source: "/a", Target: "/b/", ReadOnly: true}}; !slices.Equal(got.Mounts, want) {
		t.Errorf("mounts %+v, want %+v", got.Mounts, want)
	}
}

func TestModeAndLevel(t *testing.T) {
	d := parse(t, "[daemon]\nsocket_mode = \"600\"\nlog_level = \"warn\"").Daemon
	if d.Mode() != 0o600 || d.Level() != slog.LevelWarn {
		t.Errorf("mode %v, level %v", d.Mode(), d.Level())
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sandpoold.toml")
	if _, err := Load(path); err == nil || !strings.HasPrefix(err.Error(), "read configuration: open "+path) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("region = 'eu'\nstart = 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.HasPrefix(err.Error(), path+":2: start: unknown key") {
		t.Errorf("unknown key: %v", err)
	}
}
