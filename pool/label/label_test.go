package label

import (
	"maps"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLongTextsAreSplit(t *testing.T) {
	for text, parts := range map[string]int{
		"": 0, "a": 1, strings.Repeat("a", maxText): 1, strings.Repeat("a", maxText+1): 2, strings.Repeat("é", maxText): 2, strings.Repeat("a", 32<<10): 9,
	} {
		labels := Split("sandpool.x", text)
		if got := Join(labels, "sandpool.x"); got != text || len(labels) != parts {
			t.Errorf("%d bytes became %d in %d labels", len(text), len(got), len(labels))
		}
		for key, value := range labels {
			if len(key)+len(value) > 4096 || !utf8.ValidString(value) {
				t.Errorf("label %s has %d bytes", key, len(value))
			}
		}
	}
}

func TestNothingIsLeftOfWhatIsReplaced(t *testing.T) {
	long, short := strings.Repeat("a", 3*maxText), "b"
	for _, c := range [][2]string{{long, short}, {short, long}, {long, ""}, {"", long}, {"", ""}} {
		if len(Replace("k", c[0], c[1])) == 0 {
			t.Error("nothing would be written")
		}
		labels := Split("k", c[0])
		maps.Copy(labels, Replace("k", c[0], c[1]))
		if got := Join(labels, "k"); got != c[1] {
			t.Errorf("%d bytes were left of %d, not %d", len(got), len(c[0]), len(c[1]))
		}
	}
}
