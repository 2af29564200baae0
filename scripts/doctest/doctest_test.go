package doctest

import (
	"reflect"
	"strings"
	"testing"
)

const page = "# A page\n\nText.\n\n```console\n$ ID=$(sandpool claim)   # a comment\nc-w73zxmsjhe6czdw3: …\n# cat <<'END' >file\na $ b\nEND\n$ one \\\n  two\n```\n" +
	"1. A list:\n\n   ```console\n   $ indented\n   28\n   9\n   $ kill 28 99\n   ```\n\n```sh\n$ no console\n```\n\n<!-- not typed: it needs a terminal -->\n\n```console\n$ top\n```\n"

func TestParse(t *testing.T) {
	got, err := Parse(page)
	want := []Step{
		{6, "ID=$(sandpool claim)   # a comment", "c-w73zxmsjhe6czdw3: …\n", nil},
		{8, "cat <<'END' >file\na $ b\nEND", "", nil},
		{11, "one \\\n  two", "", nil},
		{17, "indented", "28\n9\n", []string{"28"}},
		{20, "kill 28 99", "", nil},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, %v, want\n%+v", got, err, want)
	}
	for _, bad := range []string{"```console\nno command\n```\n", "```console\n```\n"} {
		if got, err := Parse(bad); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func TestMatch(t *testing.T) {
	const (
		a, b = "c-aaaaaaaaaaaaaaaa", "c-bbbbbbbbbbbbbbbb"
		real = "c-w73zxmsjhe6czdw3"
	)
	for _, tc := range []struct {
		page, printed string
		ok            bool
	}{
		{"", "", true},
		{"", "a word\n", false},
		{"a word\n", "", false},
		{a + "\n", real + "\n", true},
		{a + " " + a + "\n", real + " " + real + "\n", true},
		{a + " " + a + "\n", real + " " + b + "\n", false},
		{a + "\n", "c-short\n", false},
		{a + "\n", "ck-w73zxmsjhe6czdw3\n", false},
		{"in 21.0 ms, ends in 9m59s\n", "in 8123.4 ms, ends in 9m31s\n", true},
		{"in 21.0 ms\n", "in 2.4 s\n", true},
		{"in 21.0 ms\n", "in 21.0 MB\n", false},
		{"SIZE 8.4 MiB\n", "SIZE 1006.6 KiB\n", true},
		{"SIZE 8.4 MiB\n", "SIZE 8.4 ms\n", false},
		{"ends in 9m59s\n", "ends in 23h\n", false},
		{"Ran 20 tests in 0.112s\n", "Ran 20 tests in 1.05s\n", true},
		{"Ran 20 tests in 0.112s\n", "Ran 19 tests in 0.112s\n", false},
		{"ends in 24h\n", "ends in 23h59m\n", true},
		{"AGE 1s\n", "AGE 12s\n", true},
		{`"lifetime":"10m0s"` + "\n", `"lifetime":"9m0s"` + "\n", false},
		{`"warning":"12.5s"` + "\n", `"warning":"5m0s"` + "\n", false},
		{"ID    STATE  AGE\n" + a + "  running  1s\n", "ID                  STATE    AGE\n" + real + "  running  3s  \n", true},
		{"one\n…\ntwo\n", "one\n1\n2\ntwo\n", true},
		{"one\n…\ntwo\n", "one\ntwo\n", true},
		{"one\n…\n", "two\n", false},
		{`{"id":"…","state":"running"}` + "\n", `{"id":"x","state":"running"}` + "\n", true},
		{`{"id":"…","state":"running"}` + "\n", `{"id":"x","state":"dead"}` + "\n", false},
		{"2026-11-24T03:12:10.240583898Z 2026-11-24 8841018\n", "2027-01-02T03:04:05Z 2027-01-02 12345\n", true},
		{"127.0.0.1:8000 is port 8000\n", "127.0.0.1:8001 is port 8000\n", false},
		{"4 ready\n", "5 ready\n", false},
		{"124\n", "125\n", false},
	} {
		if err := (Names{}).Match(tc.page, tc.printed); (err == nil) != tc.ok {
			t.Errorf("%q for %q: %v", tc.printed, tc.page, err)
		}
	}
}

func TestNames(t *testing.T) {
	names := Names{}
	if err := names.Match("28\n", "31\n", "28"); err != nil {
		t.Fatal(err)
	}
	if err := names.Match("c-aaaaaaaaaaaaaaaa\n", "c-w73zxmsjhe6czdw3\n"); err != nil {
		t.Fatal(err)
	}
	if got := names.In("sandpool logs c-aaaaaaaaaaaaaaaa 28 280"); got != "sandpool logs c-w73zxmsjhe6czdw3 31 280" {
		t.Errorf("typed %s", got)
	}
	if err := names.Match("31\n28\n", "40\n31\n", "28", "31"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if got := names.In("kill 28 31"); got != "kill 31 40" {
			t.Fatalf("where the page's names are those of others here, it typed %s", got)
		}
	}
	if err := names.Match("c-aaaaaaaaaaaaaaaa\n", "c-cccccccccccccccc\n"); err == nil || !strings.Contains(err.Error(), "printed") {
		t.Errorf("another id under the same name: %v", err)
	}
}
