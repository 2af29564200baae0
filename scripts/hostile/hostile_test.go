package main

import (
	"context"
	"errors"
	"testing"

	"sandpool/scripts/testhost"
)

func TestMain(m *testing.M) {
	testhost.ClearEnv()
	m.Run()
}

func TestNamesOfAttacks(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range attacks {
		if a.name == "" || a.run == nil || seen[a.name] {
			t.Errorf("attack %q is incomplete or there twice", a.name)
		}
		seen[a.name] = true
	}
	if last := attacks[len(attacks)-1].name; last != stopAttacks[0].name {
		t.Errorf("%q comes after the one that stops the daemon", last)
	}
}

// An attack that was not made is no attack that held.
func TestVerdicts(t *testing.T) {
	for name, test := range map[string]struct {
		run     func(context.Context, *trial) error
		held    bool
		verdict string
	}{
		"held":          {func(_ context.Context, t *trial) error { t.tried(); return nil }, true, "0"},
		"through":       {func(_ context.Context, t *trial) error { t.tried(); t.through("a"); t.through("b"); return nil }, false, "2"},
		"nothing tried": {func(context.Context, *trial) error { return nil }, false, "not made"},
		"broken off":    {func(_ context.Context, t *trial) error { t.tried(); return errors.New("no") }, false, "not made"},
	} {
		r := makeOne(t.Context(), attack{name, test.run}, &trial{})
		if r.held() != test.held || r.verdict() != test.verdict {
			t.Errorf("%s: held %v, %s; want %v, %s", name, r.held(), r.verdict(), test.held, test.verdict)
		}
	}
}

func TestOnlyTheVictimsOwnIsToldOf(t *testing.T) {
	tr := &trial{ground: &ground{secret: "hush", victim: newUser(victimUID, "", "")}}
	tr.tells("nothing", "GET /")
	tr.tells("no such claim hush", "GET /hush") // the answer repeats the question
	if len(tr.got) != 0 {
		t.Errorf("got through: %q", tr.got)
	}
	tr.tells("of uid:1235: hush", "GET /")
	if len(tr.got) != 2 {
		t.Errorf("got through: %q, want the secret and the owner", tr.got)
	}
}
