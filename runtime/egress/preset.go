package egress

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// PackageRegistries is the preset of what package managers fetch from.
const PackageRegistries = "package-registries"

// site is a domain with those of its hosts that a preset allows. "" is the domain itself.
type site struct {
	domain string
	hosts  []string
}

// presets are lists of rules with a name.
var presets = map[string][]string{
	PackageRegistries: rulesOf([]site{
		{"pypi.org", []string{""}},
		{"pythonhosted.org", []string{"files"}},
		{"npmjs.org", []string{"registry"}},
		{"yarnpkg.com", []string{"registry"}},
		{"debian.org", []string{"deb", "security"}},
		{"ubuntu.com", []string{"archive", "*.archive", "security", "ports"}},
		{"alpinelinux.org", []string{"dl-cdn"}},
		{"golang.org", []string{"proxy", "sum"}},
		{"go.dev", []string{""}},
		{"google.com", []string{"dl"}},
		{"crates.io", []string{"", "index", "static"}},
		{"rubygems.org", []string{"", "index"}},
		{"github.com", []string{"", "codeload"}},
		{"githubusercontent.com", []string{"objects", "release-assets", "raw"}},
	}),
}

func rulesOf(sites []site) (rules []string) {
	for _, s := range sites {
		for _, host := range s.hosts {
			rules = append(rules, strings.TrimPrefix(host+"."+s.domain, "."))
		}
	}
	return rules
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
