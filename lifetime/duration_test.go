package lifetime

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseDuration(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
		back string // what String makes of it
	}{
		{"90s", 90 * time.Second, "1m30s"},
		{"1h30m", 90 * time.Minute, "1h30m0s"},
		{"7d", 7 * day, "7d"},
		{"24h", day, "1d"},
		{"-24h", -day, "-24h0m0s"},
		{"0", 0, "0s"},
		{"0d", 0, "0s"},
		{"106751d", 106751 * day, "106751d"},
	}
	for _, test := range tests {
		got, err := ParseDuration(test.text)
		if err != nil || got.Std() != test.want || got.String() != test.back {
			t.Errorf("%q: got %v (%v), %v; want %v (%s)", test.text, got.Std(), got, err, test.want, test.back)
		}
	}
}

func TestParseDurationRefuses(t *testing.T) {
	for _, text := range []string{"", "d", "90", "1.5d", "-7d", "1d12h", "7 d", "106752d", "99999999999999999999d", "9999999h", "soon"} {
		if got, err := ParseDuration(text); err == nil || !strings.Contains(err.Error(), `"`+text+`"`) {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
}

func TestParseDurationNamesAnOverflow(t *testing.T) {
	for _, text := range []string{"106752d", "99999999d", "99999999999999999999d", "9999999h", "5", "-5", "106751d24h"} {
		_, err := ParseDuration(text)
		if long := err != nil && strings.Contains(err.Error(), "more than 106751d"); long != (len(text) > 2 && !strings.HasSuffix(text, "d24h")) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestDurationInJSON(t *testing.T) {
	body := struct{ Wait, Life Duration }{Duration(time.Minute), Duration(7 * day)}
	text, err := json.Marshal(body)
	if err != nil || string(text) != `{"Wait":"1m0s","Life":"7d"}` {
		t.Errorf("wrote %s, %v", text, err)
	}
	back := body
	if err := json.Unmarshal([]byte(`{"Wait":"5s","Life":"2d"}`), &back); err != nil || back.Wait.Std() != 5*time.Second || back.Life.Std() != 2*day {
		t.Errorf("read %+v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"Wait":5}`), &back); err == nil {
		t.Error("a bare number is read as a duration")
	}
}

// FuzzParseDuration finds no duration that does not survive being written and read again.
func FuzzParseDuration(f *testing.F) {
	for _, seed := range []string{"90s", "7d", "-24h", "1h30m", "0", "106751d", "+3d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDuration(text)
		if err != nil {
			return
		}
		if back, err := ParseDuration(d.String()); err != nil || back != d {
			t.Errorf("%q: %v comes back as %v, %v", text, d, back, err)
		}
	})
}

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for left, want := range map[time.Duration]string{
			840*time.Millisecond + 1: "840ms", 9*time.Second + 4*time.Millisecond: "9.004s", 90*time.Second + 400*time.Millisecond: "1m30s", -time.Hour: "0s",
		} {
			if got := Until(time.Now().Add(left)).String(); got != want {
				t.Errorf("%v: %s, want %s", left, got, want)
			}
		}
	})
}
