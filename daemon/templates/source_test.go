package templates

import (
	"testing"

	"sandpool/runtime"
)

// TestFingerprintNamesTheHook has a pool's sandboxes replaced when what is run at their claims changes, and no snapshot made anew.
func TestFingerprintNamesTheHook(t *testing.T) {
	of := func(hook string) string {
		return (&source{prepared: &runtime.Prepared{}, onClaim: hook}).Fingerprint()
	}
	if of("") != (&runtime.Prepared{}).Fingerprint() || of("a") == of("") || of("a") == of("b") {
		t.Errorf("fingerprints %q, %q, %q", of(""), of("a"), of("b"))
	}
}
