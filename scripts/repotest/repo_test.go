package repotest

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sandpool/runtime/egress"
)

const module = "sandpool"

// imports says which of our packages each of them may import. Only daemon joins the parts.
var imports = map[string][]string{
	"cmd/sandpool":                {"cmd/sandpool/bench", "cmd/sandpool/encode", "cmd/sandpool/environ", "cmd/sandpool/events", "cmd/sandpool/help", "cmd/sandpool/input", "cmd/sandpool/listing", "cmd/sandpool/progress", "cmd/sandpool/request", "cmd/sandpool/signals", "cmd/sandpool/table", "cmd/sandpool/target", "cmd/sandpool/top", "cmd/sandpool/transfer", "daemon/client", "daemon/doctor", "daemon/wire", "lifetime", "lifetime/wait", "runtime/runsc"},
	"cmd/sandpool-init":           {"cmd/sandpool-init/door", "cmd/sandpool-init/files", "cmd/sandpool-init/procs", "cmd/sandpool-init/supervise", "runtime/supervisor/protocol", "runtime/tail", "runtime/ulimit"},
	"cmd/sandpool-init/door":      {"runtime/door"},
	"cmd/sandpool-init/files":     {"cmd/sandpool-init/tree", "cmd/sandpool-init/users"},
	"cmd/sandpool-init/nofile":    {},
	"cmd/sandpool-init/procs":     {"runtime/supervisor/protocol"},
	"cmd/sandpool-init/supervise": {"cmd/sandpool-init/procs", "cmd/sandpool-init/users", "cmd/sandpool-init/vfork", "runtime/supervisor/protocol", "runtime/ulimit"},
	"cmd/sandpool-init/tree":      {},
	"cmd/sandpool-init/users":     {},
	"cmd/sandpool-init/vfork":     {"cmd/sandpool-init/nofile"},
	"cmd/sandpool/bench":          {"cmd/sandpool/table", "daemon/client", "daemon/wire", "lifetime"},
	"cmd/sandpool/encode":         {},
	"cmd/sandpool/environ":        {"daemon/wire"},
	"cmd/sandpool/events":         {"daemon/wire", "lifetime"},
	"cmd/sandpool/help":           {"cmd/sandpool/table"},
	"cmd/sandpool/input":          {"cmd/sandpool/signals", "daemon/client", "daemon/wire"},
	"cmd/sandpool/listing":        {"cmd/sandpool/table", "daemon/doctor", "daemon/wire", "lifetime"},
	"cmd/sandpool/progress":       {},
	"cmd/sandpool/signals":        {"daemon/client", "daemon/wire"},
	"cmd/sandpool/table":          {"daemon/wire"},
	"cmd/sandpool/request":        {"cmd/sandpool/environ", "daemon/wire", "runtime/egress"},
	"cmd/sandpool/target":         {"cmd/sandpool/table", "daemon/wire"},
	"cmd/sandpool/top":            {"cmd/sandpool/listing", "cmd/sandpool/table", "daemon/client", "daemon/wire", "lifetime"},
	"cmd/sandpool/transfer":       {"cmd/sandpool-init/tree", "daemon/client", "daemon/wire"},
	"cmd/sandpoold":               {"configs", "daemon", "systemd"},
	"configs":                     {"lifetime", "runtime/egress", "runtime/hostpath", "runtime/ulimit"},
	"daemon":                      {"configs", "daemon/api", "daemon/begin", "daemon/doors", "daemon/engine", "daemon/events", "daemon/hooks", "daemon/network", "daemon/processes", "daemon/rules", "daemon/telemetry", "daemon/templates", "daemon/wire", "lifetime", "lifetime/wait", "pool", "pool/label", "runtime", "runtime/checkpoint", "runtime/egress", "runtime/hostpath", "runtime/hostproc", "runtime/image", "runtime/nic", "runtime/template"},
	"daemon/api":                  {"configs", "daemon/begin", "daemon/events", "daemon/files", "daemon/metadata", "daemon/openapi", "daemon/paced", "daemon/processes", "daemon/rules", "daemon/strictjson", "daemon/telemetry", "daemon/templates", "daemon/wire", "lifetime", "lifetime/wait", "pool", "runtime", "runtime/checkpoint", "runtime/hostproc", "runtime/image", "runtime/supervisor"},
	"daemon/begin":                {"daemon/files", "daemon/processes", "daemon/telemetry", "daemon/wire", "lifetime", "pool", "runtime", "runtime/oneline", "runtime/supervisor", "runtime/tail"},
	"daemon/client":               {"daemon/wire"},
	"daemon/daemontest":           {},
	"daemon/doctor":               {"configs", "daemon/engine", "daemon/wire", "runtime", "runtime/hostproc", "runtime/nic"},
	"daemon/engine":               {"configs", "runtime", "runtime/image", "runtime/runsc"},
	"daemon/events":               {"daemon/wire", "runtime/atomicfile", "runtime/hostpath"},
	"daemon/files":                {"daemon/wire", "runtime", "runtime/template"},
	"daemon/doors":                {"lifetime/wait", "runtime/door", "runtime/egress"},
	"daemon/hooks":                {"daemon/wire", "lifetime/wait"},
	"daemon/metadata":             {"daemon/wire"},
	"daemon/networktest":          {"daemon/client", "daemon/wire", "lifetime", "scripts/outside", "scripts/testhost"},
	"daemon/nictest":              {},
	"daemon/network":              {"daemon/wire", "lifetime/line", "runtime/door", "runtime/egress"},
	"daemon/openapi":              {},
	"daemon/openapi/openapitest":  {"daemon/openapi"},
	"daemon/paced":                {},
	"daemon/processes":            {"daemon/wire", "runtime", "runtime/supervisor", "runtime/ulimit"},
	"daemon/rules":                {"daemon/wire", "runtime/egress"},
	"daemon/strictjson":           {"daemon/processes", "daemon/wire", "lifetime"},
	"daemon/telemetry":            {"configs", "pool", "runtime", "runtime/checkpoint"},
	"daemon/templates":            {"daemon/wire", "lifetime/wait", "pool", "runtime", "runtime/checkpoint", "runtime/template"},
	"daemon/wire":                 {"lifetime"},
	"images":                      {},
	"images/imagetest":            {},
	"lifetime":                    {"lifetime/line", "lifetime/wait"},
	"lifetime/line":               {},
	"lifetime/wait":               {},
	"pool":                        {"lifetime", "lifetime/line", "lifetime/wait", "pool/label", "pool/size"},
	"pool/label":                  {"lifetime"},
	"pool/pooltest":               {"configs", "lifetime", "pool"},
	"pool/size":                   {},
	"runtime":                     {"lifetime/wait", "runtime/atomicfile", "runtime/call", "runtime/checkpoint", "runtime/command", "runtime/hostpath", "runtime/hostproc", "runtime/image", "runtime/lockfile", "runtime/oneline", "runtime/pause", "runtime/resource", "runtime/rootfs", "runtime/runsc", "runtime/supervisor", "runtime/template"},
	"runtime/atomicfile":          {},
	"runtime/call":                {},
	"runtime/checkpoint":          {"runtime/atomicfile", "runtime/hostpath"},
	"runtime/command":             {"lifetime/wait", "runtime/call", "runtime/oneline", "runtime/runsc", "runtime/supervisor", "runtime/supervisor/protocol", "runtime/tail", "runtime/template"},
	"runtime/door":                {"runtime/supervisor/protocol"},
	"runtime/egress":              {},
	"runtime/hostpath":            {},
	"runtime/hostproc":            {"lifetime/wait"},
	"runtime/image":               {"runtime/call", "runtime/oneline"},
	"runtime/lockfile":            {},
	"runtime/nic":                 {"runtime/egress", "runtime/hostproc"},
	"runtime/oneline":             {},
	"runtime/pause":               {"runtime/call", "runtime/runsc"},
	"runtime/resource":            {"runtime/hostproc"},
	"runtime/rootfs":              {},
	"runtime/runsc":               {"lifetime/wait", "runtime/atomicfile", "runtime/hostpath", "runtime/hostproc"},
	"runtime/runsc/runsctest":     {},
	"runtime/supervisor":          {"runtime/supervisor/protocol"},
	"runtime/supervisor/protocol": {},
	"runtime/tail":                {},
	"runtime/template":            {"runtime/hostpath", "runtime/rootfs", "runtime/ulimit"},
	"runtime/ulimit":              {},
	"systemd":                     {},
	"systemd/systemdtest":         {},
}

// pure are the packages that tests run in virtual time: they import the standard library and the classes of errors, no more.
var pure = []string{"lifetime", "lifetime/line", "lifetime/wait", "pool", "pool/label", "pool/size"}

// topLevel is what may lie in the repository's top folder, besides what git ignores.
var topLevel = []string{
	".ci", ".gitattributes", ".gitignore", ".golangci.yml", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md", "cmd", "configs", "daemon", "docs",
	"go.mod", "go.sum", "images", "lifetime", "pool", "runtime", "scripts", "systemd",
}

// pkg is what go list tells about a package.
type pkg struct {
	ImportPath string
	Doc        string
	Imports    []string
}

func (p pkg) name() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// run runs a command in the repository's top folder.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("%s: %v: %s", cmd, err, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func packages(t *testing.T) []pkg {
	t.Helper()
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(run(t, "go", "list", "-json=ImportPath,Doc,Imports", "./..."))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		if strings.HasPrefix(p.name(), "scripts/") {
			continue // tools may use what they need
		}
		allowed, planned := imports[p.name()]
		if !planned {
			t.Errorf("package %s is not in the plan: say here what it may import", p.name())
			continue
		}
		for _, i := range p.Imports {
			ours, isOurs := strings.CutPrefix(i, module+"/")
			if isOurs && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s; it may import %v", p.name(), ours, allowed)
			}
			host, _, _ := strings.Cut(i, "/")
			if slices.Contains(pure, p.name()) && strings.Contains(host, ".") && i != "github.com/containerd/errdefs" {
				t.Errorf("%s imports %s; it may import the standard library and errdefs", p.name(), i)
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		want := "Package " + path.Base(p.ImportPath) + " "
		if strings.HasPrefix(p.name(), "cmd/") && strings.Count(p.name(), "/") == 1 || strings.HasPrefix(p.Doc, "Command ") {
			want = "Command " + path.Base(p.ImportPath) + " "
		}
		if !strings.HasPrefix(p.Doc, want) {
			t.Errorf("the comment of %s is %q; it must start with %q", p.name(), p.Doc, want)
		}
	}
}

func TestTopLevel(t *testing.T) {
	for file := range strings.Lines(run(t, "git", "ls-files", "--cached", "--others", "--exclude-standard")) {
		top, _, _ := strings.Cut(strings.TrimSpace(file), "/")
		if !slices.Contains(topLevel, top) {
			t.Errorf("%s lies in the top folder: it belongs elsewhere, or in the list here", top)
		}
	}
}

// goFiles returns the text of every Go file of the project, by its path.
func goFiles(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for file := range strings.Lines(run(t, "git", "ls-files", "--cached", "--others", "--exclude-standard", "*.go")) {
		file = strings.TrimSpace(file)
		data, err := os.ReadFile(filepath.Join("..", "..", file))
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, but still in the index
		}
		if err != nil {
			t.Fatal(err)
		}
		all[file] = string(data)
	}
	return all
}

// TestFileLengths keeps files readable.
func TestFileLengths(t *testing.T) {
	const limit = 400
	for file, text := range goFiles(t) {
		if lines := strings.Count(text, "\n"); lines > limit {
			t.Errorf("%s has %d lines; the limit is %d", file, lines, limit)
		}
	}
}

// TestEnvironment holds the tests of every package that starts programs, asks over HTTP or reads the environment to one of their own.
func TestEnvironment(t *testing.T) {
	reads := regexp.MustCompile(`"os/exec"|"net/http|os\.(Getenv|Environ|LookupEnv|ExpandEnv)\(`)
	clears := regexp.MustCompile(`(?s)func TestMain\(.*(testhost\.ClearEnv\(|\bMain\()`)
	tested, read, clear := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for file, text := range goFiles(t) {
		folder, isTest := path.Dir(file), strings.HasSuffix(file, "_test.go")
		tested[folder] = tested[folder] || isTest
		read[folder] = read[folder] || reads.MatchString(text)
		clear[folder] = clear[folder] || isTest && clears.MatchString(text)
	}
	for folder, is := range tested {
		if is && read[folder] && !clear[folder] {
			t.Errorf("%s: its tests take the caller's environment: call testhost.ClearEnv in TestMain", folder)
		}
	}
}

// TestRegistriesAreNamedOnce keeps the hosts that packages come from in the one list of a preset, which has them by their domains.
func TestRegistriesAreNamedOnce(t *testing.T) {
	for _, name := range egress.Preset(egress.PackageRegistries) {
		host, domain, _ := strings.Cut(name, ".")
		if !slices.Contains([]string{"npmjs.org", "yarnpkg.com", "debian.org", "golang.org"}, domain) {
			continue
		}
		out, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "grep", "-nF", name).CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
			t.Errorf("%s of %s is named outside of the preset: %v: %s", host, domain, err, out)
		}
	}
}
