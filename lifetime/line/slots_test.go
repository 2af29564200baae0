package line

import "testing"

func TestFreeSlots(t *testing.T) {
	for name, test := range map[string]struct {
		slots Slots
		want  string // who may start
	}{
		"none held":          {Slots{Most: 2}, "a b "},
		"one held":           {Slots{Most: 2, Held: 1, Owners: map[string]int{"a": 1}}, "a b "},
		"one's":              {Slots{Most: 2, Held: 2, Owners: map[string]int{"a": 2}}, "b "},
		"two's":              {Slots{Most: 2, Held: 2, Owners: map[string]int{"a": 1, "b": 1}}, ""},
		"the pool's":         {Slots{Most: 2, Held: 2}, ""},
		"one's and one more": {Slots{Most: 2, Held: 3, Owners: map[string]int{"a": 2, "b": 1}}, ""},
		"the only one's":     {Slots{Most: 1, Held: 1, Owners: map[string]int{"a": 1}}, "b "},
	} {
		got := ""
		for _, owner := range []string{"a", "b"} {
			if test.slots.Free(owner) {
				got += owner + " "
			}
		}
		if got != test.want {
			t.Errorf("%s: %q may start, want %q", name, got, test.want)
		}
	}
}
