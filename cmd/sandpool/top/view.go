package top

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"sandpool/cmd/sandpool/listing"
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

// layout is how many rows of each table the screen has, and whether it has the one of events.
type layout struct {
	pools, claims, events int
	feed                  bool
}

// layout gives the pools a third of what the headings leave, and the events a third of the rest, or more where others need less. A low
// screen has no events.
func (m topModel) layout() layout {
	const (
		headings = 8 // and blank lines, and the keys
		feed     = 2 // the same of the events
		low      = 6 // rows that the other tables want first
	)
	room := max(m.height-headings, 0)
	l := layout{feed: room >= low+feed}
	if l.feed {
		room -= feed
	}
	l.pools = min(len(m.Pools), max(room/3, 2), room)
	room -= l.pools
	if !l.feed {
		l.claims = min(len(m.Claims), room)
		return l
	}
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
	pools := m.pools()
	s.add(headLine, pools[0])
	rows := pools[1 : 1+l.pools]
	if more := len(m.Pools) - l.pools; more > 0 && l.pools > 0 {
		rows[l.pools-1] = fmt.Sprintf("… %d more", more+1)
	}
	s.add(plainLine, rows...)
	s.add(plainLine, "")

	claims := m.claims()
	last := m.first + l.claims
	s.add(headLine, m.claimsTitle(m.first, last), claims[0])
	for i := m.first; i < last; i++ {
		s.add(claimStyle(m.Claims[i]), claims[1+i])
	}
	if !l.feed {
		return
	}
	s.add(plainLine, "")
	s.add(headLine, "EVENTS")
	events := m.events()
	s.add(plainLine, events[len(m.Events)-l.events:len(m.Events)]...)
}

// Write writes all of one look, for lines of a width; 0 has no bound.
func (l Look) Write(w io.Writer, width int) {
	m := topModel{Look: l, now: l.Time, width: width}
	lines := slices.Concat([]string{m.title(), m.totals(), ""}, m.pools(), []string{"", m.claimsTitle(0, len(m.Claims))}, m.claims(), []string{"", "EVENTS"}, m.events())
	for i, line := range lines {
		if width > 0 {
			lines[i] = ansi.Truncate(line, width, "…")
		}
	}
	_, _ = fmt.Fprintln(w, strings.Join(lines, "\n")) // the writer keeps its error
}

// title says whose state this is and how fresh.
func (m topModel) title() string {
	if m.away != nil {
		return wire.Printable(fmt.Sprintf("sandpool top  NO ANSWER for %s, trying on: %v", table.Duration(m.now.Sub(m.Time)), m.away))
	}
	words := []string{"sandpool top", m.Info.Version, m.Info.Platform, "up " + table.Duration(m.now.Sub(m.Info.StartedAt)), m.now.Local().Format(time.TimeOnly)}
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
		all.Ready += p.Ready
		all.InUse += p.InUse
		all.Starting += p.Starting
		all.Waiting += p.Waiting
	}
	text := fmt.Sprintf("ready %d  in use %d  starting %d  waiting %d", all.Ready, all.InUse, all.Starting, all.Waiting)
	if claims, starts, known := m.rates(); known {
		text += fmt.Sprintf("  claims/s %.1f  starts/s %.1f", claims, starts)
	}
	return text
}

// pools has what matters most at the left, as a narrow screen cuts the rest off.
func (m topModel) pools() []string {
	number := func(name string, drop int) table.Column { return table.Column{Name: name, Right: true, Drop: drop} }
	t := table.New(table.Column{Name: "POOL", Cut: true}, number("READY", 0), number("RUNNING", 5), number("STARTING", 1), number("IN USE", 0), number("WAITING", 3), number("TARGET", 4), number("WANTED", 7), number("MAX", 6),
		table.Column{Name: "STATE"}, table.Column{Name: "REASON", Rare: true, Cut: true, Drop: 2})
	for _, p := range m.Pools {
		state, reason := listing.PoolState(p)
		t.Row(p.Name, p.Ready, p.Running, p.Starting, p.InUse, p.Waiting, p.Target, p.Wanted, p.Max, state, reason)
	}
	return t.Lines(table.Screen{Width: m.width})
}

// claimsTitle says which claims are shown and from which sources they all are.
func (m topModel) claimsTitle(first, last int) string {
	sources := map[wire.Source]int{}
	for _, c := range m.Claims {
		sources[c.Source]++
	}
	words := []string{fmt.Sprintf("CLAIMS %d-%d of %d", min(first+1, last), last, len(m.Claims))}
	for _, source := range []wire.Source{wire.SourceHot, wire.SourcePool, wire.SourceFallback, wire.SourceSnapshot, wire.SourceCheckpoint, wire.SourceStart} {
		if n := sources[source]; n > 0 {
			words = append(words, fmt.Sprintf("%s %d", source, n))
		}
	}
	return strings.Join(words, "  ")
}

func (m topModel) claims() []string {
	t := table.New(table.Column{Name: "ID"}, table.Column{Name: "ENDS IN", Right: true}, table.Column{Name: "AGE", Right: true, Drop: 1}, table.Column{Name: "STATE"}, table.Column{Name: "SOURCE", Drop: 3},
		table.Column{Name: "OWNER", Drop: 2}, table.Column{Name: "POOL", Drop: 4})
	for _, c := range m.Claims {
		t.Row(c.ID, table.Duration(c.ExpiresAt.Sub(m.now)), table.Duration(m.now.Sub(c.ClaimedAt)), c.State, c.Source, c.Owner, c.Pool)
	}
	return t.Lines(table.Screen{Width: m.width})
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

func (m topModel) events() []string {
	var text bytes.Buffer
	_ = table.Align(&text, func(w io.Writer) {
		for _, e := range m.Events {
			table.Line(w, e.Time.Local().Format(time.TimeOnly), e.Kind, e.Claim, e.Message)
		}
	}) // a buffer takes everything
	return strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
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
