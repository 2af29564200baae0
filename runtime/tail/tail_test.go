package tail

import "testing"

func TestAppend(t *testing.T) {
	var kept []byte
	for _, step := range []struct{ more, want string }{{"", ""}, {"ab", "ab"}, {"cd", "abcd"}, {"e", "bcde"}, {"", "bcde"}, {"0123456789", "6789"}} {
		if kept = Append(kept, []byte(step.more), 4); string(kept) != step.want {
			t.Errorf("after %q: %q, want %q", step.more, kept, step.want)
		}
	}
}
