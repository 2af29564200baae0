package top

import (
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"sandpool/daemon/wire"
)

// rateWindow is the time that rates are taken over.
const rateWindow = 10 * time.Second

// kindClaimed is the event of a claim that got its sandbox.
const kindClaimed = "claimed"

// topModel is what `sandpool top` knows. Update and View compute from it and their arguments alone; time is that of the last look.
type topModel struct {
	ask      func(after string) Looked
	interval time.Duration

	width, height int
	paused, help  bool
	first         int // claim that is shown at the top

	Look           // the last that succeeded
	cursor  string // behind the events that were seen
	claimed uint64 // events of claims since the start
	counts  []counted
	away    error // why the last look failed
	now     time.Time
}

// counted is what was counted at a moment.
type counted struct {
	at               time.Time
	claimed, started uint64
}

// tick says that it is time for the next look.
type tick struct{}

func newTop(interval time.Duration, first Looked, ask func(after string) Looked) topModel {
	return topModel{ask: ask, interval: interval, width: 80, height: 24}.saw(first)
}

// Init waits for the second look.
func (m topModel) Init() tea.Cmd { return m.wait() }

func (m topModel) wait() tea.Cmd {
	return tea.Tick(m.interval, func(time.Time) tea.Msg { return tick{} })
}

// Update takes in what happened. There is always one look or one wait under way.
func (m topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	var next tea.Cmd
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		m, next = m.press(msg.String())
	case tick:
		if next = m.wait(); !m.paused {
			ask, after := m.ask, m.cursor
			next = func() tea.Msg { return ask(after) }
		}
	case Looked:
		if next = m.wait(); !m.paused { // else the next look tells the same events again
			m = m.saw(msg)
		}
	}
	m.first = min(max(m.first, 0), max(len(m.Claims)-m.layout().claims, 0))
	return m, next
}

// press acts on a key.
func (m topModel) press(key string) (topModel, tea.Cmd) {
	page := max(m.layout().claims, 1)
	switch key {
	case "q", "ctrl+c":
		return m, tea.Quit
	case "p":
		m.paused = !m.paused
	case "?":
		m.help = !m.help
	case "up", "k":
		m.first--
	case "down", "j":
		m.first++
	case "pgup":
		m.first -= page
	case "pgdown":
		m.first += page
	case "home":
		m.first = 0
	case "end":
		m.first = len(m.Claims)
	case "tab":
		if m.first += page; m.first >= len(m.Claims) {
			m.first = 0
		}
	}
	return m, nil
}

// saw takes in a look. After one that failed the last good one stays.
func (m topModel) saw(l Looked) topModel {
	m.now, m.away = l.Time, l.err
	if l.err != nil {
		return m
	}
	events := newest(slices.Concat(m.Events, l.Events))
	m.Look, m.cursor, m.claimed = l.Look, l.cursor, m.claimed+l.claimed
	m.Events = events

	s := counted{at: l.Time, claimed: m.claimed}
	for _, p := range l.Pools {
		s.started += p.Started
	}
	if n := len(m.counts); n > 0 && s.started < m.counts[n-1].started {
		m.counts = nil // the daemon was started again and counts from 0, or a pool is gone
	}
	m.counts = append(slices.Clone(m.counts), s)
	for len(m.counts) > 2 && s.at.Sub(m.counts[0].at) > rateWindow {
		m.counts = m.counts[1:]
	}
	return m
}

// rates returns the claims and the starts of a second, or false before there are two looks to compare.
func (m topModel) rates() (claims, starts float64, known bool) {
	if len(m.counts) < 2 {
		return 0, 0, false
	}
	from, to := m.counts[0], m.counts[len(m.counts)-1]
	seconds := to.at.Sub(from.at).Seconds()
	return float64(to.claimed-from.claimed) / seconds, float64(to.started-from.started) / seconds, seconds > 0
}

// sortByEnd sorts claims by the time that they have left, the shortest first.
func sortByEnd(claims []wire.Claim) {
	slices.SortStableFunc(claims, func(a, b wire.Claim) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
}

// newest returns the last events.
func newest(events []wire.Event) []wire.Event { return events[max(len(events)-keptEvents, 0):] }
