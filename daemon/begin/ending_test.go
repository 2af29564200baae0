package begin

import (
	"strings"
	"testing"
)

// TestEnding has commands write secrets in ways by which one could be shown in part.
func TestEnding(t *testing.T) {
	const key = "line one of it\nline two of it"
	long := strings.Repeat("0123456789", 2000)
	for name, test := range map[string]struct {
		secrets, writes []string
		want            string
	}{
		"none":              {nil, []string{"all ", "of it"}, "all of it"},
		"empty":             {[]string{"A="}, []string{"all"}, "all"},
		"in two writes":     {[]string{"A=hunter2"}, []string{"my hun", "ter2 is"}, "my *** is"},
		"twice":             {[]string{"A=hunter2"}, []string{"hunter2 hunter2hunter2"}, "*** ***"},
		"two that overlap":  {[]string{"A=abcde", "B=defgh"}, []string{"xabcdefghy"}, "x***y"},
		"one in another":    {[]string{"A=ab", "B=xaby"}, []string{"xaby ab"}, "*** ***"},
		"its beginning":     {[]string{"A=hunter2"}, []string{"my hunte"}, "my ***"},
		"too little of it":  {[]string{"A=hunter2"}, []string{"my hun"}, "my hun"},
		"a line of it":      {[]string{"A=" + key}, []string{"> line two of it <"}, "> *** <"},
		"all of its lines":  {[]string{"A=" + key}, []string{key}, "***"},
		"a long one":        {[]string{"A=" + long}, []string{long, long, "."}, "***."},
		"what is cut in it": {[]string{"A=" + long}, []string{long, strings.Repeat(".", keptWords), "end"}, "end"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnding(values(test.secrets))
			for _, text := range test.writes {
				if _, err := e.Write([]byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			got := e.String()
			if strings.HasPrefix(name, "what is cut") {
				if strings.ContainsAny(got, "0123456789") || !strings.HasSuffix(got, "...end") {
					t.Errorf("it shows %q", end(got, 100))
				}
			} else if got != test.want {
				t.Errorf("it shows %q, want %q", end(got, 100), test.want)
			}
		})
	}
}

// TestHookAsText reads what sandboxes are labelled with.
func TestHookAsText(t *testing.T) {
	h := Hook{Command: []string{"/a", "<b>\n"}, Timeout: 5e9}
	if got, err := decode(h.Encode()); err != nil || got.Timeout != h.Timeout || len(got.Command) != 2 || got.Command[1] != h.Command[1] {
		t.Errorf("%s is read as %+v, %v", h.Encode(), got, err)
	}
	if text := (Hook{Timeout: 5e9}).Encode(); text != "" {
		t.Errorf("no hook is %q", text)
	}
	for _, text := range []string{"{", "{}", `{"command":["a"]}`, `{"timeout":"5s"}`} {
		if h, err := decode(text); err == nil {
			t.Errorf("%s is read as %+v", text, h)
		}
	}
}
