package images

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	versionArg = regexp.MustCompile(`^ARG (\w+_VERSION)=(\S*)$`)
	// optional are the versions that may be left out.
	optional = map[string]bool{"RUST_VERSION": true}
	// fetched are commands that fetch something whose version must come from an argument.
	fetched = regexp.MustCompile(`(^|[^p])npm install |pnpm add `)
)

// instructions joins the lines that a backslash continues, and drops comments.
func instructions(dockerfile string) []string {
	var all []string
	open := false
	for line := range strings.Lines(dockerfile) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		text, goesOn := strings.CutSuffix(line, `\`)
		if open {
			all[len(all)-1] += strings.TrimSpace(text) + " "
		} else {
			all = append(all, strings.TrimSpace(text)+" ")
		}
		open = goesOn
	}
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

// lint returns what a Dockerfile does that ours must not.
func lint(dockerfile string) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if strings.Contains(dockerfile, "# syntax=") {
		fault("a syntax line fetches a frontend from a registry")
	}
	user, entry, from := "", "", ""
	for _, line := range instructions(dockerfile) {
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "FROM":
			from, user, entry = rest, "", ""
			if strings.Contains(rest, ":") {
				fault("%q: name the image by an argument", line)
			}
		case "USER":
			user = rest
		case "ENTRYPOINT":
			entry = rest
		case "ARG":
			if m := versionArg.FindStringSubmatch(line); strings.Contains(line, "_VERSION") && (m == nil || !optional[m[1]] && !regexp.MustCompile(`^\d+\.\d+(\.\d+)?$`).MatchString(m[2])) {
				fault("%q: no pinned version", line)
			}
		case "ADD":
			fault("%q: COPY, or fetch what is checked", line)
		case "RUN":
			lintRun(rest, fault)
		}
	}
	ours := strings.HasPrefix(from, "production")
	if user != "sandbox" && (user != "" || !ours) {
		fault("it ends as user %q, not as sandbox", user)
	}
	if entry != `["/usr/bin/tini", "--"]` && (entry != "" || !ours) {
		fault("its entrypoint is %q, not tini", entry)
	}
	return faults
}

func lintRun(command string, fault func(string, ...any)) {
	if strings.Contains(command, "apt-get install") {
		for _, want := range []string{"apt-get update &&", "--no-install-recommends", "rm -rf /var/lib/apt/lists/*"} {
			if !strings.Contains(command, want) {
				fault("%.60q…: no %q", command, want)
			}
		}
	}
	if fetched.MatchString(command) && !strings.Contains(command, "_VERSION") {
		fault("%.60q…: what it fetches has no version of an argument", command)
	}
	if strings.Contains(command, "pnpm install") && !strings.Contains(command, "--frozen-lockfile") {
		fault("%.60q…: no --frozen-lockfile", command)
	}
	if strings.Contains(command, "http://") {
		fault("%.60q…: fetches in the clear", command)
	}
}

func TestDockerfiles(t *testing.T) {
	var all []string
	for _, pattern := range []string{"*/Dockerfile", "templates/*/Dockerfile"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	if len(all) < 6 {
		t.Fatalf("found %v, want those of base, sandbox, production and the templates", all)
	}
	for _, path := range all {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range lint(string(data)) {
			t.Errorf("%s: %s", path, fault)
		}
	}
}

// TestLint shows that every rule can fail.
func TestLint(t *testing.T) {
	const end = "\nUSER sandbox\nENTRYPOINT [\"/usr/bin/tini\", \"--\"]\n"
	for text, want := range map[string]string{
		"# syntax=docker/dockerfile:1\nFROM ${BASE}" + end:                      "syntax line",
		"FROM ubuntu:22.04" + end:                                               "by an argument",
		"FROM ${BASE}\nARG NODE_VERSION=latest" + end:                           "no pinned version",
		"FROM ${BASE}\nARG NODE_VERSION" + end:                                  "no pinned version",
		"FROM ${BASE}\nADD x /x" + end:                                          "COPY",
		"FROM ${BASE}\nRUN apt-get update && apt-get install \\\n -y git" + end: "--no-install-recommends",
		"FROM ${BASE}\nRUN npm install left-pad" + end:                          "no version of an argument",
		"FROM ${BASE}\nRUN pnpm install" + end:                                  "--frozen-lockfile",
		"FROM ${BASE}\nRUN curl http://example.com/x" + end:                     "in the clear",
		"FROM ${BASE}" + end + "USER root\n":                                    "not as sandbox",
		"FROM production\nUSER root\n":                                          "not as sandbox",
		"FROM ${BASE}\nUSER sandbox\n":                                          "not tini",
	} {
		if got := strings.Join(lint(text), "\n"); !strings.Contains(got, want) {
			t.Errorf("%q: faults %q, want one with %q", text, got, want)
		}
	}
	if got := lint("FROM production\nRUN true\n"); len(got) > 0 {
		t.Errorf("faults %q in a good one", got)
	}
}
