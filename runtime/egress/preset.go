package egress

import (
	"maps"
	"slices"
	"sync"
)

// presets are lists of rules with a name.
var presets = map[string][]string{
	"package-registries": {
		"pypi.org", "files.pythonhosted.org",
		"registry.npmjs.org", "registry.yarnpkg.com",
		"deb.debian.org", "security.debian.org",
		"archive.ubuntu.com", "*.archive.ubuntu.com", "security.ubuntu.com", "ports.ubuntu.com",
		"dl-cdn.alpinelinux.org",
		"proxy.golang.org", "sum.golang.org", "go.dev", "dl.google.com",
		"crates.io", "index.crates.io", "static.crates.io",
		"rubygems.org", "index.rubygems.org",
		"github.com", "codeload.github.com", "objects.githubusercontent.com", "release-assets.githubusercontent.com", "raw.githubusercontent.com",
	},
}

// presetRules are the presets, read.
var presetRules = sync.OnceValue(func() map[string][]rule {
	all := map[string][]rule{}
	for name, list := range presets {
		for i, text := range list {
			r, err := parseRule(text, position{"preset", i})
			if err != nil {
				panic(err) // a slip in the list above
			}
			all[name] = append(all[name], r)
		}
	}
	return all
})

// Presets are the names of those that there are, in order.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }

// Preset is what a preset allows, as rules; nil if there is none of that name.
func Preset(name string) []string { return slices.Clone(presets[name]) }
