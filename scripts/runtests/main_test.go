package main

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSummary(t *testing.T) {
	const passing = `{"Action":"output","Package":"p","Test":"TestA","Output":"secret\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok p 1s\n"}
{"Action":"pass","Package":"p"}
`
	for name, test := range map[string]struct {
		events string
		good   bool
		want   []string
		hidden string
	}{
		"passed": {passing, true, []string{"ok p 1s\n", "1 tests passed, 0 failed, 0 skipped in 1 packages"}, "secret"},
		"failed": {passing + `{"Action":"output","Package":"p","Test":"TestB","Output":"why\n"}
{"Action":"fail","Package":"p","Test":"TestB"}`, false, []string{"why\n", "1 failed"}, "secret"},
		"skipped": {passing + `{"Action":"skip","Package":"p","Test":"TestB"}`, false, []string{"1 skipped"}, "secret"},
		"crashed": {passing + `{"Action":"output","Package":"p","Test":"TestB","Output":"panic\n"}`, true, []string{"TestB did not end\npanic\n"}, "secret"},
		"nothing": {"", false, []string{"0 tests passed"}, "secret"},
		"no json": {"flag provided but not defined\n", false, []string{"flag provided"}, "secret"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			sum := newSummary(&out)
			if err := sum.read(strings.NewReader(test.events)); err != nil {
				t.Fatal(err)
			}
			if sum.good() != test.good {
				t.Errorf("good is %t", sum.good())
			}
			sum.close(false, time.Second)
			for _, want := range test.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is missing from %q", want, out.String())
				}
			}
			if strings.Contains(out.String(), test.hidden) {
				t.Errorf("output of a test that passed is shown: %q", out.String())
			}
		})
	}
}

func TestRun(t *testing.T) {
	var out strings.Builder
	if run(t.Context(), []string{"-run=^TestSummary$", "."}, &out) != true {
		t.Errorf("a test that passes: %s", out.String())
	}
	out.Reset()
	if run(t.Context(), []string{"./no/such/package"}, &out) {
		t.Errorf("a package that is not there: %s", out.String())
	}
}

// TestSplit holds which tests may come from the cache: those that depend on nothing but what go test sees.
func TestSplit(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	got, err := split(t.Context(), []string{"-race", "-tags=images", "sandpool/pool", "sandpool/images/imagetest", "sandpool/scripts/repotest", "sandpool/lifetime", "sandpool/runtime"})
	want := [][]string{
		{"-race", "-tags=images", "sandpool/pool", "sandpool/lifetime"},
		{"-count=1", "-p=3", "-exec='" + program + "' -share", "-race", "-tags=images", "sandpool/runtime", "sandpool/images/imagetest", "sandpool/scripts/repotest"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := split(t.Context(), []string{"sandpool/runtime"}); err != nil || len(got) != 1 {
		t.Errorf("a package by itself: %q, %v", got, err)
	}
	for _, args := range [][]string{nil, {"-race"}, {"-timeout", "20m", "sandpool/pool"}} {
		if got, err := split(t.Context(), args); err == nil {
			t.Errorf("%q: no error, but %q", args, got)
		}
	}
}
