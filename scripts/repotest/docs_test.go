package repotest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"sandpool/configs"
	"sandpool/daemon/openapi"
	"sandpool/lifetime"
)

// read returns files below the repository's top folder, one after the other.
func read(t *testing.T, patterns ...string) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.Join("..", "..", pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("find %s: nothing there (%v)", pattern, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(data)
		}
	}
	return all.String()
}

// found returns what the groups of each match hold, joined by spaces; each once, in order.
func found(t *testing.T, pattern, text string) []string {
	t.Helper()
	var all []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, strings.Join(match[1:], " "))
	}
	if len(all) == 0 {
		t.Fatalf("nothing matches %s", pattern)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// sameSets reports what only one of both has.
func sameSets(t *testing.T, what string, documented, real []string) {
	t.Helper()
	for _, item := range documented {
		if !slices.Contains(real, item) {
			t.Errorf("%s: %q is documented and does not exist", what, item)
		}
	}
	for _, item := range real {
		if !slices.Contains(documented, item) {
			t.Errorf("%s: %q exists and is not documented", what, item)
		}
	}
}

func TestDocsNameMakeTargets(t *testing.T) {
	targets := found(t, `(?m)^([a-z-]+):.*## `, read(t, "Makefile"))
	named := found(t, "(?m)(?:`|\\$ |^ +|STACK=\\S+ )make ([a-z -]+)(?:`|$)", read(t, "*.md", "docs/*.md"))
	for name := range strings.FieldsSeq(strings.Join(named, " ")) {
		if !slices.Contains(targets, name) {
			t.Errorf("the docs name `make %s`; the Makefile has %v", name, targets)
		}
	}
}

// TestContributingNamesSteps holds the table of what proves what: of what it says that .ci/run runs, nothing is dropped.
func TestContributingNamesSteps(t *testing.T) {
	documented := found(t, "(?m)^\\| `make ([a-z -]*[a-z])[^`]*` \\|.*\\| yes \\|$", read(t, "CONTRIBUTING.md"))
	sameSets(t, "steps of .ci/run", documented, found(t, `(?m)^(?:step|run) .*make ([a-z -]*[a-z])`, read(t, ".ci/run")))
}

// TestDocsNameConfiguration reads the tables of docs/configuration.md as a configuration file, but for the tables that a file has
// any number of: see TestDocsNameKeys.
func TestDocsNameConfiguration(t *testing.T) {
	var file strings.Builder
	rows := regexp.MustCompile("(?m)^## `(\\[.*\\])`|^\\| `([a-z_]+)` \\| `(.*?)` \\|")
	for _, row := range rows.FindAllStringSubmatch(read(t, "docs/configuration.md"), -1) {
		if table := row[1]; table != "" {
			file.WriteString(table + "\n")
		} else {
			file.WriteString(row[2] + " = " + row[3] + "\n")
		}
	}
	var documented, sample map[string]any
	if err := toml.Unmarshal([]byte(file.String()), &documented); err != nil {
		t.Fatalf("%v in\n%s", err, file.String())
	}
	if err := toml.Unmarshal([]byte(configs.Sample), &sample); err != nil {
		t.Fatal(err)
	}
	for _, file := range []map[string]any{documented, sample} {
		delete(file, "lifetimes")
		delete(file, "hooks")
		delete(file, "secrets")
	}
	for _, key := range slices.Sorted(maps.Keys(sample)) {
		if !reflect.DeepEqual(documented[key], sample[key]) {
			t.Errorf("%s:\n docs   %v\n sample %v", key, documented[key], sample[key])
		}
	}
	if len(documented) != len(sample) {
		t.Errorf("documented are %v, want %v", documented, sample)
	}
}

func TestDocsNameKeys(t *testing.T) {
	for table, of := range map[string]reflect.Type{"[lifetimes.NAME]": reflect.TypeFor[configs.Lifetime](), "[[hooks]]": reflect.TypeFor[configs.Hook](), "[[secrets]]": reflect.TypeFor[configs.Secret]()} {
		_, section, _ := strings.Cut(read(t, "docs/configuration.md"), "## `"+table+"`\n")
		section, _, _ = strings.Cut(section, "\n## ")
		var real []string
		for field := range of.Fields() {
			real = append(real, field.Tag.Get("toml"))
		}
		sameSets(t, "keys of "+table, found(t, "(?m)^\\| `([a-z_]+)` \\|[^|\n]*\\|[^|\n]*\\|$", section), real)
	}
}

// TestDocsNameLifetimeTypes reads the tables of both files that show the built-in types.
func TestDocsNameLifetimeTypes(t *testing.T) {
	var real []string
	for name, l := range configs.Default().Lifetimes {
		real = append(real, fmt.Sprintf("%s %s %s %s %d", name, brief(l.Lifetime), brief(l.Warning), brief(l.Grace), l.Extensions))
	}
	documented := found(t, "(?m)^\\| `([a-z_]+)` \\| (\\S+) \\| (\\S+) \\| (\\S+) \\| (\\d+) \\|$", read(t, "docs/lifetimes.md"))
	sameSets(t, "lifetime types in docs/lifetimes.md", documented, real)
	quoted := found(t, "(?m)^\\| `([a-z_]+)` \\| `\"(\\w+)\"` \\| `\"(\\w+)\"` \\| `\"(\\w+)\"` \\| `(\\d+)` \\|$", read(t, "docs/configuration.md"))
	for i := range quoted {
		quoted[i] = strings.ReplaceAll(quoted[i], " 0s ", " none ")
	}
	sameSets(t, "lifetime types in docs/configuration.md", quoted, real)
}

// brief writes a duration as people do.
func brief(d lifetime.Duration) string {
	switch hours := d.Std() / time.Hour; {
	case d == 0:
		return "none"
	case hours >= 48:
		return d.String()
	case hours > 0:
		return fmt.Sprintf("%dh", hours)
	default:
		return fmt.Sprintf("%dm", d.Std()/time.Minute)
	}
}

// TestCommandsKnowTheInit compares what the client asks for with where the sandboxes have their init.
func TestCommandsKnowTheInit(t *testing.T) {
	const pattern = `(?i)const initPath = "(.*)"`
	if theirs, ours := found(t, pattern, read(t, "runtime/template/*.go")), found(t, pattern, read(t, "daemon/client/*.go")); !slices.Equal(theirs, ours) {
		t.Errorf("the client names %v; sandboxes have %v", ours, theirs)
	}
}

func TestDocsNameRoutes(t *testing.T) {
	documented := found(t, "(?m)^\\| `([A-Z]+ /\\S*)` \\|", read(t, "docs/api.md"))
	var real []string
	for _, route := range found(t, `\{http\.Method(\w+), "(/[^"]*)", (?:a|openapi)\.`, read(t, "daemon/api/api.go")) {
		method, path, _ := strings.Cut(route, " ")
		real = append(real, strings.ToUpper(method)+" "+path)
	}
	sameSets(t, "routes", documented, real)
	routes, successes := described(t)
	sameSets(t, "routes of the description", routes, real)
	var rows []string
	for _, row := range found(t, "(?m)^\\| `([A-Z]+ /\\S*)` \\| [^|]* \\| (.*) \\|$", read(t, "docs/api.md")) {
		statuses := regexp.MustCompile(`\b[123]\d\d\b`).FindAllString(row, -1)
		slices.Sort(statuses)
		rows = append(rows, strings.Join(append(strings.Fields(row)[:2], statuses...), " "))
	}
	sameSets(t, "successes of the description", successes, rows)
}

// described returns the routes of the description, and each with the statuses of its successes.
func described(t *testing.T) (routes, successes []string) {
	t.Helper()
	var document struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(openapi.Document), &document); err != nil {
		t.Fatal(err)
	}
	for path, item := range document.Paths {
		for method, operation := range item {
			if method == "parameters" {
				continue
			}
			var of struct{ Responses map[string]any }
			if err := json.Unmarshal(operation, &of); err != nil {
				t.Fatal(err)
			}
			delete(of.Responses, "default")
			route := strings.ToUpper(method) + " " + path
			routes = append(routes, route)
			successes = append(successes, strings.Join(append([]string{route}, slices.Sorted(maps.Keys(of.Responses))...), " "))
		}
	}
	return routes, successes
}

func TestDocsNameErrorCodes(t *testing.T) {
	documented := found(t, "(?m)^\\| (\\d{3}) \\| `([a-z_]+)` \\|", read(t, "docs/api.md"))
	statuses := map[string]string{} // by the constant's name in net/http
	for code := 400; code < 600; code++ {
		statuses[strings.ReplaceAll(http.StatusText(code), " ", "")] = strconv.Itoa(code)
	}
	codes := map[string]string{} // by the constant's name in daemon/wire
	for _, code := range found(t, `(?m)^\t(Code\w+) += "([a-z_]+)"`, read(t, "daemon/wire/code.go")) {
		name, value, _ := strings.Cut(code, " ")
		codes["wire."+name] = value
	}
	var real []string
	for _, class := range found(t, `http\.Status(\w+),(?: Code:)? ("[a-z_]+"|wire\.Code\w+)`, read(t, "daemon/api/errors.go")) {
		name, code, _ := strings.Cut(class, " ")
		real = append(real, statuses[name]+" "+cmp.Or(codes[code], strings.Trim(code, `"`)))
	}
	sameSets(t, "error codes", documented, real)
	sameSets(t, "error codes of the description", describedCodes(t), real)
}

// describedCodes returns the codes of errors in the description, each behind its status.
func describedCodes(t *testing.T) (codes []string) {
	t.Helper()
	var document struct {
		Components struct {
			Schemas struct {
				Error struct {
					Properties struct {
						Code struct {
							Enum   []string
							Status map[string]int `json:"x-status"`
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(openapi.Document), &document); err != nil {
		t.Fatal(err)
	}
	code := document.Components.Schemas.Error.Properties.Code
	for _, name := range code.Enum {
		codes = append(codes, fmt.Sprint(code.Status[name], " ", name))
	}
	sameSets(t, "codes with a status in the description", slices.Collect(maps.Keys(code.Status)), code.Enum)
	return codes
}

func TestDocsNameMetrics(t *testing.T) {
	documented := found(t, "`(sandbox_[a-z_]+)`", read(t, "docs/*.md", "README.md"))
	sameSets(t, "metrics", documented, found(t, `"(sandbox_[a-z_]+)"`, read(t, "daemon/telemetry/metrics.go", "daemon/telemetry/network.go")))
}

func TestDocsNameLabels(t *testing.T) {
	documented := found(t, "(?m)^\\| `sandpool\\.([a-z-]+)` \\|", read(t, "docs/architecture.md"))
	sameSets(t, "labels", documented, found(t, `Prefix \+ "([a-z-]+)"`, read(t, "pool/record.go")+read(t, "pool/label/lease.go")))
}

func TestDocsNameStates(t *testing.T) {
	code := read(t, "pool/state.go")
	values := map[string]string{"": ""} // by the constant's name
	for _, state := range found(t, `(\w+) +State = "(\w+)"`, code) {
		name, value, _ := strings.Cut(state, " ")
		values[name] = value
	}
	var real []string
	for _, row := range found(t, `(?m)^\t(\w+): +\{(.*)\},$`, code) {
		var names []string
		for _, name := range regexp.MustCompile(`\w+`).FindAllString(row, -1) {
			names = append(names, values[name])
		}
		real = append(real, strings.Join(names, " "))
	}
	var documented []string
	for _, row := range found(t, "(?m)^\\| `(\\w+)` \\| .* \\| (?:yes|never) \\| (.*) \\|$", read(t, "docs/architecture.md")) {
		state, _, _ := strings.Cut(row, " ")
		moves := regexp.MustCompile("`(\\w+)`").FindAllString(row, -1)
		documented = append(documented, strings.ReplaceAll(strings.Join(append([]string{state}, moves...), " "), "`", ""))
	}
	sameSets(t, "moves", documented, real)
}

func TestManualNamesCommands(t *testing.T) {
	documented := found(t, "(?m)^\\| `sandpool (?:pools |checkpoints |egress |files |templates |runtime )?([a-z]+)", read(t, "docs/commands.md"))
	real := found(t, `Use: +"([a-z]+)[" ]`, read(t, "cmd/sandpool/*.go"))
	real = slices.DeleteFunc(append(real, "completion"), func(name string) bool {
		return name == "sandpool" || name == "runtime" || name == "files" || name == "egress"
	}) // cobra's own; the root and mere groups
	sameSets(t, "commands", documented, real)
}

func TestManualNamesExitCodes(t *testing.T) {
	documented := found(t, `(?m)^\| (\d+) \| (.*) \|$`, read(t, "docs/commands.md"))
	sameSets(t, "exit codes", documented, found(t, `(?m)^  (\d+)  (.*)$`, read(t, "cmd/sandpool/exit.go")))
}

// TestSecurityNamesTests holds what docs/security.md says by tests: each that it names is there.
func TestSecurityNamesTests(t *testing.T) {
	var real []string
	for _, text := range goFiles(t) {
		for _, name := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(text, -1) {
			real = append(real, name[1])
		}
	}
	for _, name := range found(t, "`(Test\\w+)`", read(t, "docs/security.md")) {
		if !slices.Contains(real, name) {
			t.Errorf("docs/security.md names %s, which is no test", name)
		}
	}
}

func TestLinksInDocsResolve(t *testing.T) {
	for _, folder := range []string{".", "docs", "docs/notes"} {
		for _, link := range found(t, `\]\(([^)]+)\)`, read(t, filepath.Join(folder, "*.md"))) {
			target, anchor, _ := strings.Cut(link, "#")
			if strings.Contains(link, "://") {
				continue
			}
			path := filepath.Join(folder, target)
			if _, err := os.Stat(filepath.Join("..", "..", path)); err != nil {
				t.Errorf("%s: link %s: %v", folder, link, err)
			} else if anchor != "" && !slices.Contains(anchors(t, path), anchor) {
				t.Errorf("%s: link %s: no such heading", folder, link)
			}
		}
	}
}

// anchors returns the names that a file's headings have in links.
func anchors(t *testing.T, path string) []string {
	t.Helper()
	var names []string
	for _, heading := range found(t, `(?m)^#+ (.*)$`, read(t, path)) {
		plain := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(heading), "")
		names = append(names, strings.ReplaceAll(plain, " ", "-"))
	}
	return names
}

func TestDocsNameNoMachine(t *testing.T) {
	for line := range strings.Lines(read(t, "*.md", "docs/*.md")) {
		if regexp.MustCompile(`/(work|tmp|root|home)/`).MatchString(line) {
			t.Errorf("the docs name a folder of one machine: %s", line)
		}
	}
}
