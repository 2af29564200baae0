package repotest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

// The bounds of Go code without tests, in lines. TestFileLengths has that of files.
const (
	mostOfPackage = 3000
	mostOfMost    = 25 // functions, but for one in ten
)

// TestBounds keeps packages and functions such that one reads them whole.
func TestBounds(t *testing.T) {
	packages := map[string]int{}
	var functions []int
	for file, text := range goFiles(t) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		packages[path.Dir(file)] += strings.Count(text, "\n")
		functions = append(functions, functionLines(t, file, text)...)
	}
	for name, lines := range packages {
		if lines > mostOfPackage {
			t.Errorf("package %s has %d lines; the limit is %d: give a part of it a package of its own", name, lines, mostOfPackage)
		}
	}
	slices.Sort(functions)
	if lines := functions[len(functions)*9/10]; lines > mostOfMost {
		t.Errorf("one function in ten has %d lines or more; at most %d are wanted", lines, mostOfMost)
	}
}

// functionLines counts the lines of each function of a file.
func functionLines(t *testing.T, file, text string) (all []int) {
	t.Helper()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			all = append(all, set.Position(f.End()).Line-set.Position(f.Pos()).Line+1)
		}
	}
	return all
}
