package configs

import (
	"maps"
	"strings"
	"testing"

	"sandpool/runtime/ulimit"
)

func TestUlimits(t *testing.T) {
	c := parse(t, `templates.go = {image = "x", allow_setuid = true, ulimits = {nofile = 4096, core = "0:-1", memlock = "unlimited", nproc = "16:1024", stack = -1}}`)
	want := map[string]Ulimit{
		"nofile": {Soft: 4096, Hard: 4096}, "core": {Soft: 0, Hard: ulimit.Unlimited}, "memlock": {Soft: ulimit.Unlimited, Hard: ulimit.Unlimited}, "nproc": {Soft: 16, Hard: 1024}, "stack": {Soft: ulimit.Unlimited, Hard: ulimit.Unlimited},
	}
	if got := c.Templates["go"]; !maps.Equal(got.Ulimits, want) || !got.AllowSetuid {
		t.Errorf("got %+v, want %v", got, want)
	}
	if got := parse(t, "").Templates["default"]; got.Ulimits != nil || got.AllowSetuid {
		t.Errorf("the default template has %+v", got)
	}
}

func TestFaultsOfUlimits(t *testing.T) {
	const key = "f:3: templates.go.ulimits."
	for text, want := range map[string]string{
		"as = 1":             key + "as: unknown key: want one of core, cpu, data,",
		"core = true":        key + "core: is true or false, want a whole number from 0, -1 for unlimited, or two of them",
		"core = -2":          key + `core: "-2": want a whole number from 0`,
		"core = '1:2:3'":     key + `core: "1:2:3": want a whole number`,
		"core = ':'":         key + `core: ":": want a whole number`,
		"core = '2:1'":       key + "core: the soft limit is above the hard one",
		"nofile = 63":        key + "nofile: want 64 to 1048576",
		"nofile = -1":        key + "nofile: want 64 to 1048576",
		"nproc = '16:1025'":  key + "nproc: want 16 to 1024",
		"stack = '4096:-1'":  key + "stack: want at least 65536",
		"nproc = {soft = 1}": key + "nproc: is a table, want a whole number",
		"core = 9223372036854775807\nnice = '9223372036854775808'": "f:4: templates.go.ulimits.nice: ",
	} {
		_, err := Parse("f", []byte("[templates.go]\nimage = 'x'\nulimits."+strings.ReplaceAll(text, "\n", "\nulimits.")))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
