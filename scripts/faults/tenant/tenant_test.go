package tenant

import (
	"strings"
	"testing"
)

// TestExplain has changes that were not answered leave what they may leave, and what they must not.
func TestExplain(t *testing.T) {
	was := world{"old": "one\n", "log": "1\n"}
	for name, test := range map[string]struct {
		how      int
		to, now  world
		lost     string
		answered bool
	}{
		"nothing was asked":            {now: was, answered: true},
		"it was lost":                  {now: world{"log": "1\n"}, answered: true, lost: "old is not there"},
		"nobody wrote it":              {now: world{"old": "one\n", "log": "1\n", "new": "x"}, answered: true, lost: "new is 1 bytes"},
		"as before a move":             {to: world{"new": "one\n", "log": "1\n"}, now: was},
		"as after a move":              {to: world{"new": "one\n", "log": "1\n"}, now: world{"new": "one\n", "log": "1\n"}},
		"neither name":                 {to: world{"new": "one\n", "log": "1\n"}, now: world{"log": "1\n"}, lost: "old is not there"},
		"both names":                   {to: world{"new": "one\n", "log": "1\n"}, now: world{"old": "one\n", "new": "one\n", "log": "1\n"}, lost: "old is 4 bytes"},
		"half of a write":              {to: world{"old": "two\n", "log": "1\n"}, now: world{"old": "tw", "log": "1\n"}, lost: "old is 2 bytes"},
		"half of a stream":             {how: byFile, to: world{"old": "two\n", "log": "2\n"}, now: world{"old": "two\n", "log": "1\n"}},
		"half of a file of a stream":   {how: byFile, to: world{"old": "two\n", "log": "2\n"}, now: world{"old": "tw", "log": "1\n"}, lost: "old is 2 bytes"},
		"a new file, half of a stream": {how: byFile, to: world{"old": "one\n", "log": "1\n", "new": "x\n"}, now: was},
		"half of what was added":       {how: growing, to: world{"old": "one\n", "log": "1\n22\n"}, now: world{"old": "one\n", "log": "1\n2"}},
		"less than there was":          {how: growing, to: world{"old": "one\n", "log": "1\n22\n"}, now: world{"old": "one\n", "log": "1"}, lost: "log is 1 bytes"},
		"other than what was added":    {how: growing, to: world{"old": "one\n", "log": "1\n22\n"}, now: world{"old": "one\n", "log": "1\n3"}, lost: "log is 3 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			f := files{has: was}
			if !test.answered {
				f.under = &change{test.to, test.how}
			}
			switch err := f.explain(test.now); {
			case test.lost == "" && err != nil:
				t.Errorf("it says %v", err)
			case test.lost != "" && (err == nil || !strings.Contains(err.Error(), test.lost)):
				t.Errorf("it says %v, want %q", err, test.lost)
			}
		})
	}
}

// TestOutput judges what processes say.
func TestOutput(t *testing.T) {
	for text, good := range map[string]bool{"": true, "0\n": true, "0\n1\n2": true, "0\n2\n": false, "1\n": false, "0\n0\n": false, "0\n\n": false} {
		if err := counts([]byte(text)); (err == nil) != good {
			t.Errorf("counting %q: %v", text, err)
		}
	}
	for text, good := range map[string]bool{"": true, "0\n1\n": true, "0\n2\n": true, "1\n0\n": false, "0\n0\n": false, "x\n": false} {
		if _, err := repeated([]byte(text)); (err == nil) != good {
			t.Errorf("repeating %q: %v", text, err)
		}
	}
}
