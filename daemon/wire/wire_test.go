package wire

import (
	"encoding/json"
	"testing"
	"time"

	"sandpool/lifetime"
)

func TestClaimRequestInJSON(t *testing.T) {
	now := lifetime.Duration(0)
	tests := map[string]ClaimRequest{
		`{}`:            {},
		`{"wait":"0s"}`: {Wait: &now}, // not to wait is not the same as to say nothing
		`{"template":"go","start":"cold","lifetime":"7d"}`: {Template: "go", Start: StartCold, Lifetime: new(lifetime.Duration(7 * 24 * time.Hour))},
	}
	for want, request := range tests {
		if got, err := json.Marshal(request); err != nil || string(got) != want {
			t.Errorf("wrote %s, %v; want %s", got, err, want)
		}
	}
}
