package repotest

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	packageRow = regexp.MustCompile("(?m)^\\| `([\\w/-]+)` \\| [^|]* \\| ([^|]*) \\|$")
	quoted     = regexp.MustCompile("`([^`]*)`")
)

// TestArchitectureListsImports compares the table of packages with what each may import. Packages for tests are not in it, and the
// daemon joins all parts.
func TestArchitectureListsImports(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "docs/architecture.md"), "| package | job | may import |")
	table, _, _ = strings.Cut(table, "\n\n")
	listed := map[string]bool{"daemon": true}
	for _, row := range packageRow.FindAllStringSubmatch(table, -1) {
		listed[row[1]] = true
		var documented []string
		for _, name := range quoted.FindAllStringSubmatch(row[2], -1) {
			documented = append(documented, name[1])
		}
		if row[2] == "all parts" || slices.Equal(documented, imports[row[1]]) {
			continue
		}
		if len(documented) > 0 || len(imports[row[1]]) > 0 || row[2] != "nothing of ours" {
			t.Errorf("docs/architecture.md says of %s that it may import %q; it may import %q", row[1], row[2], imports[row[1]])
		}
	}
	for name := range imports {
		if !listed[name] && !strings.HasSuffix(name, "test") {
			t.Errorf("docs/architecture.md does not list package %s", name)
		}
	}
}
