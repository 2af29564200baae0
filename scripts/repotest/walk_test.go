package repotest

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestWalkCanBeFollowed goes along the paths of the walk through the code. Each function must be called by one that the path came by and has
// not gone back from, itself or as a method of an interface that its receiver is one of. Where it is not there is a callback: the row says so,
// and each path may have one. What passes a writer to io.Copy calls its Write.
func TestWalkCanBeFollowed(t *testing.T) {
	_, walk, _ := strings.Cut(read(t, "docs/architecture.md"), "\n## A walk through the code\n")
	walk, _, _ = strings.Cut(walk, "\n## ")
	paths := strings.Split(walk, "\n### ")[1:]
	if len(paths) != 3 {
		t.Fatalf("the walk has %d paths, want 3", len(paths))
	}
	code := loadCode(t)
	for _, path := range paths {
		title, _, _ := strings.Cut(path, "\n")
		t.Run(title, func(t *testing.T) { code.follow(t, path) })
	}
}

// follow goes along one path.
func (c *code) follow(t *testing.T, path string) {
	var way []*types.Func // to where the reader is
	callbacks, steps := 0, 0
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z/_-]+\\.go)` \\| (.+?) \\| (.+?) \\|").FindAllStringSubmatch(path, -1) {
		said := strings.Contains(row[3], "callback")
		if said {
			callbacks++
		}
		for _, word := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(row[2], -1) {
			steps++
			name := word[1]
			next := c.functions[row[1]+" "+name]
			if len(next) != 1 {
				t.Fatalf("%d functions %s are in %s, want one", len(next), name, row[1])
			}
			caller := len(way) - 1
			for caller >= 0 && !c.calls(way[caller], next[0]) {
				caller--
			}
			switch {
			case caller >= 0:
				way = way[:caller+1]
			case len(way) > 0 && !said:
				t.Errorf("%s in %s is called by none of %v", name, row[1], names(way))
			case len(way) > 0:
				said = false
			}
			way = append(way, next[0])
		}
		if said {
			t.Errorf("%s in %s needs no callback", row[2], row[1])
		}
	}
	if callbacks > 1 || steps < 5 {
		t.Errorf("the path has %d steps and %d callbacks, want some and one at most", steps, callbacks)
	}
}

func names(functions []*types.Func) (all []string) {
	for _, f := range functions {
		all = append(all, f.Name())
	}
	return all
}

// code is what there is of functions in this module, without tests.
type code struct {
	functions map[string][]*types.Func      // by file and name
	called    map[*types.Func][]*types.Func // in the function's text; those of interfaces stand for themselves
}

// calls tells whether a function calls another, or a method of an interface that the other is.
func (c *code) calls(caller, other *types.Func) bool {
	return slices.ContainsFunc(c.called[caller], func(called *types.Func) bool {
		receiver, target := called.Signature().Recv(), other.Signature().Recv()
		switch {
		case called.Origin() == other:
			return true
		case receiver == nil || target == nil || called.Name() != other.Name() || !types.IsInterface(receiver.Type()):
			return false
		}
		return types.Implements(target.Type(), receiver.Type().Underlying().(*types.Interface))
	})
}

// checked are packages that were read as source, and all others as the compiler left them.
type checked struct {
	types.Importer

	ours map[string]*types.Package
}

func (c checked) Import(path string) (*types.Package, error) {
	if p := c.ours[path]; p != nil {
		return p, nil
	}
	return c.Importer.Import(path)
}

// loadCode reads the daemon's packages.
func loadCode(t *testing.T) *code {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-export", "-json=ImportPath,Export,Dir,GoFiles,Module", "./cmd/sandpoold")
	list.Dir, list.Stderr = filepath.Join("..", ".."), os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	exports, fset := map[string]string{}, token.NewFileSet()
	c := &code{functions: map[string][]*types.Func{}, called: map[*types.Func][]*types.Func{}}
	all := checked{ours: map[string]*types.Package{}, Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; { // each behind what it imports
		var p struct {
			ImportPath, Export, Dir string
			GoFiles                 []string
			Module                  *struct{ Main bool }
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return c
		} else if err != nil {
			t.Fatal(err)
		}
		if exports[p.ImportPath] = p.Export; p.Module == nil || !p.Module.Main {
			continue
		}
		var files []*ast.File
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
		info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
		if all.ours[p.ImportPath], err = (&types.Config{Importer: all}).Check(p.ImportPath, fset, files, info); err != nil {
			t.Fatal(err)
		}
		for i, file := range files {
			c.add(strings.TrimPrefix(p.ImportPath, "sandpool/")+"/"+p.GoFiles[i], file, info)
		}
	}
}

// add reads the functions of a file.
func (c *code) add(path string, file *ast.File, info *types.Info) {
	for _, d := range file.Decls {
		declared, ok := d.(*ast.FuncDecl)
		if !ok || declared.Body == nil {
			continue
		}
		f := info.Defs[declared.Name].(*types.Func)
		c.functions[path+" "+f.Name()] = append(c.functions[path+" "+f.Name()], f)
		ast.Inspect(declared.Body, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				c.called[f] = append(c.called[f], callees(call, info)...)
			}
			return true
		})
	}
}

// callees are the functions that a call names.
func callees(call *ast.CallExpr, info *types.Info) (all []*types.Func) {
	var name *ast.Ident
	switch fun := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		name = fun
	case *ast.SelectorExpr:
		name = fun.Sel
	default:
		return nil
	}
	called, ok := info.Uses[name].(*types.Func)
	if !ok {
		return nil
	}
	if called.FullName() == "io.Copy" {
		writer := called.Signature().Params().At(0).Type()
		write, _, _ := types.LookupFieldOrMethod(writer, false, nil, "Write")
		all = append(all, write.(*types.Func))
	}
	return append(all, called)
}
