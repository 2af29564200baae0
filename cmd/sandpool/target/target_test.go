package target

import "testing"

func TestTargetsAreRead(t *testing.T) {
	for text, want := range map[string]struct {
		name string
		port int
	}{
		"a.test": {"a.test", 443}, "a.test:80": {"a.test", 80}, "203.0.113.1": {"203.0.113.1", 443}, "203.0.113.1:22": {"203.0.113.1", 22},
		"2001:db8::1": {"2001:db8::1", 443}, "[2001:db8::1]": {"2001:db8::1", 443}, "[2001:db8::1]:22": {"2001:db8::1", 22}, "127.1": {"127.1", 443},
	} {
		if name, port, err := Parse(text); name != want.name || port != want.port || err != nil {
			t.Errorf("%s: %s, %d, %v", text, name, port, err)
		}
	}
	for _, text := range []string{"a.test:", "a.test:0", "a.test:65536", "a.test:http", ":80"} {
		if name, port, err := Parse(text); err == nil {
			t.Errorf("%s was taken for %s, %d", text, name, port)
		}
	}
}
