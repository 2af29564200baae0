package users

import (
	"fmt"
	"strings"
	"testing"
)

// TestFind finds users as docker exec does.
func TestFind(t *testing.T) {
	for user, want := range map[string]string{
		"root": "{0 0 [0", "0": "{0 0 [0", "root:7": "{0 7 [7] }", "12345": "{12345 0 [0] }", "12345:root": "{12345 0 [0] }",
		"nobody-there": "not in the sandbox's /etc/passwd", "root:none-there": "not in the sandbox's /etc/group", "": "not in", "-1": "not in", "4294967295": "not in",
	} {
		who, err := Find(user)
		who.Home = ""
		if got := fmt.Sprintf("%v %v", who, err); !strings.Contains(got, want) || strings.HasPrefix(want, "{") != (err == nil) {
			t.Errorf("%q: %s, want %s", user, got, want)
		}
	}
}
