package top

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"sandpool/daemon/wire"
)

var topStart = time.Unix(1e9, 0)

// lookAt is a look so long after topStart, with claims that end one minute after another.
func lookAt(after time.Duration, claims int) Looked {
	l := Looked{cursor: "x-1", Look: Look{
		Time: topStart.Add(after), Info: wire.Info{Version: "v1", Platform: "systrap", StartedAt: topStart.Add(-time.Hour)},
		Pools: []wire.Pool{{Name: "local:default", Target: 4, Max: 8, Ready: 3, Running: 1, InUse: claims, Starting: 2}},
	}}
	for i := range claims {
		l.Claims = append(l.Claims, wire.Claim{
			ID: fmt.Sprintf("c-%02d", i), Pool: "local:default", Owner: "uid:0", State: wire.ClaimRunning, Source: wire.SourcePool, Stage: "steady",
			ClaimedAt: topStart.Add(-time.Minute), ExpiresAt: topStart.Add(time.Duration(i+1) * time.Minute),
		})
	}
	return l
}

// topOf is a model that saw the looks and has a screen of 80x24.
func topOf(t *testing.T, looks ...Looked) topModel {
	t.Helper()
	m := newTop(time.Second, looks[0], func(string) Looked { t.Error("the model asks by itself"); return Looked{} })
	for _, l := range looks[1:] {
		m = updated(m, l)
	}
	return m
}

func updated(m topModel, msgs ...tea.Msg) topModel {
	for _, msg := range msgs {
		next, _ := m.Update(msg)
		m = next.(topModel)
	}
	return m
}

func key(name string) tea.Msg {
	codes := map[string]rune{"down": tea.KeyDown, "up": tea.KeyUp, "pgdown": tea.KeyPgDown, "pgup": tea.KeyPgUp, "tab": tea.KeyTab, "home": tea.KeyHome, "end": tea.KeyEnd}
	if code, ok := codes[name]; ok {
		return tea.KeyPressMsg{Code: code}
	}
	return tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
}

// shown returns the screen's lines without styles.
func shown(m topModel) []string { return strings.Split(ansi.Strip(m.View().Content), "\n") }

func wantShown(t *testing.T, m topModel, texts ...string) {
	t.Helper()
	screen := strings.Join(shown(m), "\n")
	for _, text := range texts {
		if !strings.Contains(screen, text) {
			t.Errorf("no %q on the screen:\n%s", text, screen)
		}
	}
}

func TestTopRates(t *testing.T) {
	counted := func(after time.Duration, claimed, started uint64) Looked {
		l := lookAt(after, 0)
		l.claimed, l.Pools[0].Started = claimed, started
		return l
	}
	m := topOf(t, counted(0, 500, 100)) // what was before the first look counts for nothing
	if _, _, known := m.rates(); known {
		t.Error("rates of one look")
	}
	tests := []struct {
		look           Looked
		claims, starts float64
		known          bool
	}{
		{counted(2*time.Second, 3, 101), 1.5, 0.5, true},
		{counted(10*time.Second, 2, 105), 0.5, 0.5, true},
		{counted(12*time.Second, 7, 121), 0.9, 2, true}, // the first look is out of the window
		{counted(13*time.Second, 1, 4), 0, 0, false},    // the daemon was started again
		{counted(43*time.Second, 3, 10), 0.1, 0.2, true},
		{counted(83*time.Second, 4, 50), 0.1, 1, true}, // looks that are further apart than the window
	}
	for _, test := range tests {
		m = updated(m, test.look)
		claims, starts, known := m.rates()
		if known != test.known || known && (fmt.Sprintf("%.3f %.3f", claims, starts) != fmt.Sprintf("%.3f %.3f", test.claims, test.starts)) {
			t.Errorf("at %v: %v claims, %v starts a second, %v; want %v, %v, %v", test.look.Time.Sub(topStart), claims, starts, known, test.claims, test.starts, test.known)
		}
	}
	wantShown(t, m, "claims/s 0.1  starts/s 1.0")
}

func TestTopShowsAll(t *testing.T) {
	l := lookAt(0, 2)
	l.Claims[1].Source = wire.SourceStart
	l.Events = []wire.Event{{Time: topStart, Kind: "warning", Claim: "c-00", Message: "it ends in 1m"}}
	wantShown(t, topOf(t, l), "sandpool top  v1  systrap  up 1h", "ready 3  in use 2  starting 2  waiting 0\n",
		"local:default      3        1         2       2        0       4    8  ok", "CLAIMS 1-2 of 2  pool 1  start 1",
		"c-00       1m   1m  running  pool    uid:0  local:default", "warning  c-00  it ends in 1m", "q quit")
}

func TestTopSortsByEnd(t *testing.T) {
	claims := lookAt(0, 3).Claims
	claims = append(claims[1:], claims[0])
	sortByEnd(claims)
	for i, c := range claims {
		if c.ID != fmt.Sprintf("c-%02d", i) {
			t.Errorf("claim %d is %s", i, c.ID)
		}
	}
}

func TestTopKeepsNewestEvents(t *testing.T) {
	m := topOf(t, lookAt(0, 0))
	for i := range 2 * keptEvents {
		l := lookAt(time.Duration(i)*time.Second, 0)
		l.Events = []wire.Event{{Kind: "warning", Claim: fmt.Sprintf("c-%02d", i)}}
		m = updated(m, l)
	}
	if n := len(m.Events); n != keptEvents || m.Events[n-1].Claim != "c-39" || m.Events[0].Claim != "c-20" {
		t.Errorf("kept are %d events: %v", n, m.Events)
	}
}

// TestTopFits draws on screens of many sizes, with texts that are long, wide, or meant for the terminal.
func TestTopFits(t *testing.T) {
	l := lookAt(0, 40)
	for i := range 12 {
		l.Pools = append(l.Pools, wire.Pool{Name: fmt.Sprintf("local:a-template-with-a-long-name-%d", i), Degraded: "no\nimage \x1b[2J" + strings.Repeat("界", 60)})
		l.Events = append(l.Events, wire.Event{Kind: "died", Claim: l.Claims[i].ID, Message: "\x1b]0;title\a" + strings.Repeat("why ", 50)})
	}
	away := Looked{Look: Look{Time: topStart.Add(time.Second)}, err: errors.New("no\n\x1b[2Jdaemon" + strings.Repeat("!", 200))}
	for _, m := range []topModel{topOf(t, l), topOf(t, l, away), updated(topOf(t, l), key("?"))} {
		for _, size := range []tea.WindowSizeMsg{{Width: 80, Height: 24}, {Width: 200, Height: 60}, {Width: 40, Height: 12}, {Width: 20, Height: 9}, {Width: 5, Height: 1}} {
			m := updated(m, size)
			lines := shown(m)
			if len(lines) != size.Height {
				t.Errorf("%d lines on %dx%d", len(lines), size.Width, size.Height)
			}
			for _, text := range lines {
				if ansi.StringWidth(text) > size.Width || strings.ContainsAny(text, "\a\x1b") {
					t.Errorf("on %dx%d: %q", size.Width, size.Height, text)
				}
			}
		}
	}
	wantShown(t, topOf(t, l), "… 10 more", "CLAIMS 1-7 of 40")
}

func TestTopAway(t *testing.T) {
	away := func(after time.Duration) Looked {
		return Looked{Look: Look{Time: topStart.Add(after)}, cursor: "x-1", err: errors.New("no sandpoold")}
	}
	m := topOf(t, lookAt(0, 1), away(5*time.Second))
	wantShown(t, m, "NO ANSWER for 5s, trying on: no sandpoold", "c-00      55s")
	if m = updated(m, away(7*time.Second)); m.cursor != "x-1" {
		t.Errorf("cursor is %q", m.cursor)
	}
	wantShown(t, m, "NO ANSWER for 7s")
	m = updated(m, lookAt(9*time.Second, 2))
	wantShown(t, m, "sandpool top  v1  systrap", "c-01")
}

func TestTopScrolls(t *testing.T) {
	m := topOf(t, lookAt(0, 40))
	rows := m.layout().claims
	for _, test := range []struct {
		key  string
		want int
	}{
		{"up", 0}, {"down", 1}, {"j", 2}, {"k", 1}, {"pgdown", 1 + rows}, {"end", 40 - rows}, {"down", 40 - rows}, {"up", 39 - rows},
		{"home", 0}, {"tab", rows}, {"pgup", 0}, {"end", 40 - rows}, {"tab", 0},
	} {
		m = updated(m, key(test.key))
		if m.first != test.want {
			t.Errorf("after %s the first claim is %d, want %d of 40 in %d rows", test.key, m.first, test.want, rows)
		}
	}
	m = updated(m, key("end"))
	wantShown(t, m, "c-39", fmt.Sprintf("CLAIMS %d-40 of 40", 41-rows))
	if m = updated(m, lookAt(time.Second, 3)); m.first != 0 { // most are gone
		t.Errorf("the first claim is %d of 3", m.first)
	}
	if m = updated(m, lookAt(2*time.Second, 20), key("end"), tea.WindowSizeMsg{Width: 80, Height: 60}); m.first != 0 {
		t.Errorf("the first claim is %d of 20 on a high screen", m.first)
	}
}

func TestTopKeys(t *testing.T) {
	m := topOf(t, lookAt(0, 1))
	if help := updated(m, key("?")); !strings.Contains(help.screen(), "pause, and go on") || strings.Contains(help.screen(), "c-00") {
		t.Errorf("help is\n%s", help.screen())
	}
	for _, press := range []tea.Msg{key("q"), tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}} {
		_, cmd := m.Update(press)
		if cmd == nil || cmd() != tea.Quit() {
			t.Errorf("%v does not quit", press)
		}
	}
	m = updated(m, key("p"), lookAt(time.Second, 2))
	wantShown(t, m, "PAUSED", "CLAIMS 1-1 of 1")
	m = updated(m, key("p"), lookAt(2*time.Second, 2))
	wantShown(t, m, "CLAIMS 1-2 of 2")
}

// TestTopAsks follows the chain of looks: each begins a wait, and each wait's end a look from where the last one ended.
func TestTopAsks(t *testing.T) {
	var asked []string
	m := newTop(time.Millisecond, lookAt(0, 0), func(after string) Looked {
		asked = append(asked, after)
		return Looked{Look: Look{Time: topStart}, cursor: "x-2"}
	})
	next := m.Init()
	for range 2 {
		waited := next()
		if waited != (tick{}) {
			t.Fatalf("wait ends with %v", waited)
		}
		model, look := m.Update(waited)
		model, next = model.Update(look())
		m = model.(topModel)
	}
	if strings.Join(asked, " ") != "x-1 x-2" {
		t.Errorf("asked for what comes after %q", asked)
	}
	if _, next = updated(m, key("p")).Update(tick{}); next() != (tick{}) || len(asked) != 2 {
		t.Error("a paused model does not wait on")
	}
}
