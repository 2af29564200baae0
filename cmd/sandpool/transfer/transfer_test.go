package transfer

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestParsePlace(t *testing.T) {
	for text, want := range map[string]Place{
		"c-a:/x": {"c-a", "/x"}, "c-a:": {"c-a", ""}, "c-a:x:y": {"c-a", "x:y"}, "./c-a:x": {"", "./c-a:x"}, "/a:b": {"", "/a:b"}, ":x": {"", ":x"}, "-": {"", "-"}, "x": {"", "x"},
	} {
		if got := ParsePlace(text); got != want {
			t.Errorf("%q is %+v, want %+v", text, got, want)
		}
	}
}

// TestWithin keeps a folder from being copied into itself, where that shows.
func TestWithin(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"c-a:/x", "c-a:/x/y", true}, {"c-a:/x", "c-a:/x", true}, {"c-a:/x/.", "c-a:/x/y", true}, {"c-a:/", "c-a:/x", true},
		{"c-a:/x", "c-a:/xy", false}, {"c-a:/x", "c-b:/x/y", false}, {"c-a:/x", "/x/y", false}, {"/x", "c-a:/x/y", false},
	} {
		to := ParsePlace(c.to)
		if got := within(target{Place: to, name: "."}, ParsePlace(c.from)); got != c.want {
			t.Errorf("%s in %s: %v", c.to, c.from, got)
		}
	}
}

// TestBar shows how far a copy is, and no more of a name than one line.
func TestBar(t *testing.T) {
	var out bytes.Buffer
	b := NewBar(&out)
	b.begin("odd\x1b[2J\nname", 1000)
	if n, err := io.Copy(io.Discard, b.reader(strings.NewReader(strings.Repeat("x", 250)), 250)); n != 250 || err != nil {
		t.Fatal(n, err)
	}
	b.End()
	last := out.String()[strings.LastIndex(out.String(), "\r"):]
	if !strings.HasPrefix(last, "\r\x1b[Kodd [2J name [############............]  50% of 0.0 MB, ") || !strings.HasSuffix(last, " MB/s\n") {
		t.Errorf("it shows %q", last)
	}
	var none *Bar
	none.begin("x", 1)
	none.End()
	if r := strings.NewReader("x"); none.reader(r, 0) != io.Reader(r) {
		t.Error("no bar counts")
	}
}
