package main

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"sandpool/images"
)

// writeImage writes an archive of an image with one file of so many bytes.
func writeImage(t *testing.T, size int) string {
	t.Helper()
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "big", Mode: 0o644, Size: int64(size)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := images.Plain("sandpool.local/large:1", layer.Bytes(), "amd64").WriteArchive(&archive); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "large.tar")
	if err := os.WriteFile(path, archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBudget(t *testing.T) {
	path := writeImage(t, 3*megabyte)
	for budgets, want := range map[string]string{
		"most.large = 3":                  "",
		"most.large = 2":                  "large has 3 MB unpacked; its budget is 2 MB",
		"most.other = 9":                  "large has no budget",
		"most.large = x":                  "read ",
		"most.large = 9\nleast.large = 3": "",
		"most.large = 9\nleast.large = 4": "large has only 3 MB unpacked, want at least 4 MB",
	} {
		file := filepath.Join(t.TempDir(), "budgets.toml")
		if err := os.WriteFile(file, []byte(budgets), 0o600); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		err := run(&out, file, []string{path})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", budgets, err, want)
		}
		if want == "" && !strings.Contains(strings.Join(strings.Fields(out.String()), " "), "layer 1 3.0 3.0 sandpool all 3.0 3.0") {
			t.Errorf("report\n%s", out.String())
		}
	}
}

func TestEveryImageHasABudget(t *testing.T) {
	data, err := os.ReadFile("../../images/budgets.toml")
	if err != nil {
		t.Fatal(err)
	}
	var budgets limits
	if err := toml.Unmarshal(data, &budgets); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"../../images/*/Dockerfile", "../../images/templates/*/Dockerfile"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		for _, path := range found {
			if name := filepath.Base(filepath.Dir(path)); budgets.Most[name] == 0 {
				t.Errorf("%s has no budget", name)
			}
		}
	}
	if base, production := budgets.Least["base"], budgets.Most["production"]; base < 2*production {
		t.Errorf("base may have only %d MB, less than twice the %d MB of production", base, production)
	}
}
