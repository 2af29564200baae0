package outside

import "testing"

// StartFor starts a world that a test's end closes.
func StartFor(t *testing.T) *World {
	t.Helper()
	w, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}
