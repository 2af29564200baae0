package systemdtest

import (
	"strings"
	"testing"
)

// TestLife starts, asks and stops the service, and starts it again by a request.
func TestLife(t *testing.T) {
	c := start(t, "")
	if got := property(t, "ActiveState") + " " + property(t, "SubState"); got != "active running" {
		t.Errorf("the service is %s", got)
	}
	held := claim(t, c)
	checkAlive(t, c, held)
	await(t, "the status tells of the claim", func() bool { return strings.Contains(property(t, "StatusText"), " 1 claimed,") })
	if found := journal(t, "CLAIM_ID="+held.ID); !strings.Contains(found, "claimed ") || !strings.Contains(found, "pool="+held.Pool) {
		t.Errorf("the journal finds of claim %s:\n%s", held.ID, found)
	}
	release(t, c, held)
}
