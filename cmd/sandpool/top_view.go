package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

const topKeys = "q quit  p pause  ? help  ↑↓ pgup pgdn tab home end: claims"

const topHelp = `q, ctrl-c       quit
p               pause, and go on
?               show or hide this
up, down, k, j  scroll the claims by one
pgup, pgdn      scroll them by what fits
tab             show the next of them, and after the last the first
home, end       go to the first, to the last

Claims are sorted by the time that they have left. Rates are those of the last 10 seconds.`

// The styles of lines. A terminal with fewer colors, or NO_COLOR, gets what it can show.
var (
	plainLine = lipgloss.NewStyle()
	headLine  = lipgloss.NewStyle().Bold(true)
	titleLine = lipgloss.NewStyle().Reverse(true)
	faintLine = lipgloss.NewStyle().Faint(true)
	soonLine  = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	badLine   = lipgloss.NewStyle().Foreground(lipgloss.Red)
)

// View draws the screen.
func (m topModel) View() tea.View {
	view := tea.NewView(m.screen())
	view.AltScreen, view.WindowTitle = true, "sandpool top"
	return view
}

// layout is how many rows of each table the screen has.
type layout struct{ pools, claims, events int }

// layout gives the pools a third of what the headings leave, and the events a third of the rest, or more where others need less.
func (m topModel) layout() layout {
	const headings = 10 // and blank lines, and the keys
	var l layout
	room := max(m.height-headings, 0)
	l.pools = min(len(m.Pools), max(room/3, 1), room)
	room -= l.pools
	l.claims = min(len(m.Claims), room-min(len(m.Events), room/3))
	l.events = min(len(m.Events), room-l.claims)
	return l
}

// screen returns at most as many lines as the screen has, none longer than it is wide.
func (m topModel) screen() string {
	s := screen{width: m.width, height: m.height}
	s.add(m.titleStyle(), m.title())
	s.add(plainLine, m.totals())
	s.add(plainLine, "")
	if m.help {
		s.add(plainLine, strings.Split(topHelp, "\n")...)
	} else {
		m.body(&s)
	}
	return s.text()
}

func (m topModel) body(s *screen) {
	l := m.layout()
	pools := aligned(m.writePools)
	s.add(headLine, pools[0])
	rows := pools[1 : 1+l.pools]
	if more := len(m.Pools) - l.pools; more > 0 && l.pools > 0 {
		rows[l.pools-1] = fmt.Sprintf("… %d more", more+1)
	}
	s.add(plainLine, rows...)
	s.add(plainLine, "")

	claims := aligned(m.writeClaims)
	last := m.first + l.claims
	s.add(headLine, m.claimsTitle(m.first, last), claims[0])
	for i := m.first; i < last; i++ {
		s.add(claimStyle(m.Claims[i]), claims[1+i])
	}
	s.add(plainLine, "")

	s.add(headLine, "EVENTS")
	events := aligned(m.writeEvents)
	s.add(plainLine, events[len(m.Events)-l.events:len(m.Events)]...)
}

// write writes all of one look.
func (l look) write(w io.Writer) {
	m := topModel{look: l, now: l.Time}
	for _, part := range []string{m.title(), m.totals(), ""} {
		table.Line(w, part)
	}
	m.writePools(w)
	table.Line(w)
	table.Line(w, m.claimsTitle(0, len(m.Claims)))
	m.writeClaims(w)
	table.Line(w)
	table.Line(w, "EVENTS")
	m.writeEvents(w)
}

// title says whose state this is and how fresh.
func (m topModel) title() string {
	if m.away != nil {
		return wire.Printable(fmt.Sprintf("sandpool top  NO ANSWER for %s, trying on: %v", short(m.now.Sub(m.Time)), m.away))
	}
	words := []string{"sandpool top", m.Info.Version, m.Info.Platform, "up " + short(m.now.Sub(m.Info.StartedAt)), m.now.Local().Format(time.TimeOnly)}
	if m.paused {
		words = append(words, "PAUSED")
	}
	return wire.Printable(strings.Join(words, "  "))
}

func (m topModel) titleStyle() lipgloss.Style {
	if m.away != nil {
		return titleLine.Foreground(lipgloss.Red)
	}
	return titleLine
}

// totals sums up the pools.
func (m topModel) totals() string {
	var all wire.Pool
	for _, p := range m.Pools {
		all.Available += p.Available
		all.InUse += p.InUse
		all.Warming += p.Warming
		all.Waiting += p.Waiting
	}
	text := fmt.Sprintf("warm %d  claimed %d  warming %d  waiting %d", all.Available, all.InUse, all.Warming, all.Waiting)
	if claims, starts, known := m.rates(); known {
		text += fmt.Sprintf("  claims/s %.1f  starts/s %.1f", claims, starts)
	}
	return text
}

func (m topModel) writePools(w io.Writer) {
	table.Line(w, "POOL", "WARM", "HOT", "TARGET", "MAX", "IN USE", "WARMING", "WAITING", "STATE")
	for _, p := range m.Pools {
		table.Line(w, p.Name, p.Available, p.Running, p.Target, p.Max, p.InUse, p.Warming, p.Waiting, poolState(p))
	}
}

// claimsTitle says which claims are shown and from which tiers they all are.
func (m topModel) claimsTitle(first, last int) string {
	tiers := map[wire.Tier]int{}
	for _, c := range m.Claims {
		tiers[c.Tier]++
	}
	words := []string{fmt.Sprintf("CLAIMS %d-%d of %d", min(first+1, last), last, len(m.Claims))}
	for _, tier := range []wire.Tier{wire.TierHot, wire.TierPaused, wire.TierFallback, wire.TierTemplate, wire.TierRestored, wire.TierCold} {
		if n := tiers[tier]; n > 0 {
			words = append(words, fmt.Sprintf("%s %d", tier, n))
		}
	}
	return strings.Join(words, "  ")
}

// writeClaims has what matters most at the left, as a narrow screen cuts the rest off.
func (m topModel) writeClaims(w io.Writer) {
	table.Line(w, "ID", "ENDS IN", "AGE", "TIER", "STATE", "OWNER", "POOL")
	for _, c := range m.Claims {
		table.Line(w, c.ID, short(c.ExpiresAt.Sub(m.now)), short(m.now.Sub(c.ClaimedAt)), c.Tier, c.State, c.Owner, c.Pool)
	}
}

func claimStyle(c wire.Claim) lipgloss.Style {
	switch {
	case c.State == wire.ClaimDead:
		return badLine
	case c.Stage != string(lifetime.Steady):
		return soonLine // it was warned, or is in its grace period
	default:
		return plainLine
	}
}

func (m topModel) writeEvents(w io.Writer) {
	for _, e := range m.Events {
		table.Line(w, e.Time.Local().Format(time.TimeOnly), e.Kind, e.Claim, e.Message)
	}
}

// aligned returns the lines that write writes, their cells aligned.
func aligned(write func(w io.Writer)) []string {
	var text bytes.Buffer
	_ = table.Align(&text, write) // a buffer takes everything
	return strings.Split(text.String(), "\n")
}

// screen gathers the lines of a screen.
type screen struct {
	width, height int
	lines         []string
}

// add adds lines, cut to the width.
func (s *screen) add(style lipgloss.Style, lines ...string) {
	for _, text := range lines {
		s.lines = append(s.lines, style.Render(ansi.Truncate(text, s.width, "…")))
	}
}

// text returns the screen, with the keys on the last of its lines.
func (s *screen) text() string {
	room := max(s.height-1, 0)
	s.lines = append(s.lines[:min(len(s.lines), room)], make([]string, max(room-len(s.lines), 0))...)
	s.add(faintLine, topKeys)
	return strings.Join(s.lines, "\n")
}
