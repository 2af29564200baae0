package input

import (
	"context"
	"io"
	"strings"
	"testing"

	"sandpool/scripts/testhost"
)

func TestMain(m *testing.M) {
	testhost.ClearEnv()
	m.Run()
}

// TestLeavable leaves by both keys one after the other, also when they come apart, and by nothing else.
func TestLeavable(t *testing.T) {
	for typed, want := range map[string]int{"\x10\x11": 1, "a\x10b\x11": 0, "\x11\x10": 0, "\x10\x10\x11c": 1, "pq": 0} {
		left := 0
		in := Leavable(io.MultiReader(strings.NewReader(typed[:1]), strings.NewReader(typed[1:])), func() { left++ })
		if got, err := io.ReadAll(in); err != nil || string(got) != typed || left != want {
			t.Errorf("%q: left %d times, want %d; %q, %v", typed, left, want, got, err)
		}
	}
}

// TestEndless passes input on and ends with its context only.
func TestEndless(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	in := Endless(ctx, strings.NewReader("abc"))
	got := make([]byte, 3)
	if _, err := io.ReadFull(in, got); err != nil || string(got) != "abc" {
		t.Fatalf("%q, %v", got, err)
	}
	ended := make(chan error)
	go func() {
		_, err := in.Read(got)
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Fatalf("it ended with %v", err)
	default:
	}
	cancel()
	if err := <-ended; err != io.EOF { //nolint:errorlint // as a reader ends
		t.Error(err)
	}
}
