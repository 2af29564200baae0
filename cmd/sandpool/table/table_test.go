package table

import (
	"strings"
	"testing"
	"time"
)

func sample() *Table {
	t := New(Column{Name: "ID"}, Column{Name: "IMAGE", Cut: true, Drop: 1}, Column{Name: "N", Right: true, Drop: 2}, Column{Name: "POOL", Wide: true}, Column{Name: "REASON", Rare: true, Cut: true})
	t.Row("c-1", "registry.test/a-long-name:1", 9, "local:a", "")
	t.Row("c-22", "", 100, "", "")
	return t
}

func TestFit(t *testing.T) {
	failed := sample()
	failed.Row("c-3", "x", 1, "p", "no such\nimage "+strings.Repeat("界", 9))
	for _, test := range []struct {
		table  *Table
		screen Screen
		want   string
	}{
		{sample(), Screen{}, "ID    IMAGE                          N\nc-1   registry.test/a-long-name:1    9\nc-22  –                            100\n"},
		{sample(), Screen{Wide: true}, "ID    IMAGE                          N  POOL\nc-1   registry.test/a-long-name:1    9  local:a\nc-22  –                            100  –\n"},
		{sample(), Screen{Width: 25}, "ID    IMAGE             N\nc-1   registry.test…    9\nc-22  –               100\n"},
		{sample(), Screen{Width: 20}, "ID    IMAGE\nc-1   registry.test…\nc-22  –\n"},
		{sample(), Screen{Width: 10}, "ID\nc-1\nc-22\n"},
		{sample(), Screen{Width: 3}, "ID\nc-1\nc-…\n"},
		{failed, Screen{Width: 22}, "ID    REASON\nc-1   –\nc-22  –\nc-3   no such image …\n"},
		{sample(), Screen{Width: 10, Colour: true}, "\x1b[1mID\x1b[m\nc-1\nc-22\n"},
	} {
		var got strings.Builder
		if err := test.table.Write(&got, test.screen); err != nil || got.String() != test.want {
			t.Errorf("%+v: %v\n%s\nwant\n%s", test.screen, err, got.String(), test.want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                                 "0s",
		1400 * time.Millisecond:                      "1s",
		9*time.Minute + 59*time.Second:               "9m59s",
		10*time.Minute - time.Millisecond:            "10m",
		time.Hour:                                    "1h",
		9*time.Hour + 10*time.Minute:                 "9h10m",
		24*time.Hour - time.Millisecond:              "24h",
		23*time.Hour + 59*time.Minute:                "23h59m",
		48*time.Hour - time.Second:                   "2d",
		7*24*time.Hour - 31*time.Minute:              "6d23h",
		100*24*time.Hour + 5*time.Minute:             "100d",
		10*24*time.Hour - time.Second:                "10d",
		59*time.Minute + 59*time.Second:              "1h",
		3*24*time.Hour + 4*time.Hour + 5*time.Minute: "3d4h",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{4400 * time.Microsecond: "4.4 ms", 34900 * time.Microsecond: "35 ms", 2400 * time.Millisecond: "2.4 s", 75 * time.Second: "1m15s"} {
		if got := Took(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 3 << 19: "1.5 MiB", 2 << 30: "2 GiB", 1<<20 - 1: "1 MiB", 5 << 40: "5 TiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	if MiB(0) != "" || MiB(2048) != "2 GiB" {
		t.Errorf("limits are %q, %q", MiB(0), MiB(2048))
	}
}

func TestPairs(t *testing.T) {
	pairs := []Pair{{"name", "one two three four"}, {"", "five"}, {}, {"a\nb", "averylongwordthatstays\x1b"}}
	for width, want := range map[int]string{
		0:  "name  one two three four\n      five\n\na b   averylongwordthatstays\n",
		16: "name  one two\n      three four\n      five\n\na b\n      averylongwordthatstays\n",
	} {
		var out strings.Builder
		if err := WritePairs(&out, width, pairs); err != nil || out.String() != want {
			t.Errorf("%d: %v\n%q\nwant\n%q", width, err, out.String(), want)
		}
	}
}
