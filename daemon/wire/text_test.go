package wire

import "testing"

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		"Grüße, 世界 👩\u200d👩 –":          "Grüße, 世界 👩\u200d👩 –",
		"a\x1b]0;owned\a\x1b[2J\nb\tc":  "a ]0;owned  [2J b c",
		"a\u009b2Jb\x7fc":               "a 2Jb c",
		"a\x9b2Jb":                      "a\ufffd2Jb",
		"a\u2028b\u2029c\u202ed\u2066e": "a b c d e",
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
