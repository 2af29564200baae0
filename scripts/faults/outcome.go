package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"sandpool/scripts/faults/journal"
)

// outcome is what a scenario found. Clients add to it at once.
type outcome struct {
	fault    string
	injected int
	recovery []time.Duration
	remark   string // goes under the table

	mu                   sync.Mutex
	double, leaked, lost int
	faults               int // what fits in no column: the suite itself or a request that had to succeed failed
}

// good tells whether nothing broke.
func (o *outcome) good() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.double+o.leaked+o.lost+o.faults == 0
}

// found is what o is in the journal.
func (o *outcome) found(scenario string, round int) journal.Found {
	o.mu.Lock()
	defer o.mu.Unlock()
	line := journal.Found{Scenario: scenario, Round: round, Double: o.double, Leaked: o.leaked, Lost: o.lost, Faults: o.faults, Remark: o.remark}
	for _, recovery := range o.recovery {
		line.Recovery = recovery
	}
	return line
}

// add adds what is in the journal of one round, or of the begin and the end of a rig.
func (o *outcome) add(line journal.Found) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if line.Round != journal.NoRound {
		o.injected++
	}
	if line.Recovery > 0 {
		o.recovery = append(o.recovery, line.Recovery)
	}
	if line.Remark != "" {
		o.remark = line.Remark
	}
	o.double, o.leaked, o.lost, o.faults = o.double+line.Double, o.leaked+line.Leaked, o.lost+line.Lost, o.faults+line.Faults
}

// outcomeOf is what all rounds of a scenario found so far.
func outcomeOf(s scenario, j *journal.Journal) *outcome {
	out := &outcome{fault: s.fault}
	for _, line := range j.Of(s.name) {
		out.add(line)
	}
	return out
}

func (o *outcome) gaveTwice(format string, args ...any) {
	o.tell(&o.double, "double claim", format, args...)
}
func (o *outcome) leak(format string, args ...any) { o.tell(&o.leaked, "leak", format, args...) }
func (o *outcome) lose(format string, args ...any) { o.tell(&o.lost, "lost claim", format, args...) }
func (o *outcome) note(format string, args ...any) { o.tell(&o.faults, "fault", format, args...) }

func (o *outcome) tell(counter *int, what, format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	*counter++
	fmt.Fprintf(os.Stderr, "%s: %s: %s\n", o.fault, what, fmt.Sprintf(format, args...))
}

// printTable writes the outcomes as a table in Markdown.
func printTable(w io.Writer, outcomes []*outcome) error {
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(t, "| fault\t| injected\t| double claims\t| leaks\t| lost claims\t| recovery p50\t| max\t|")
	fmt.Fprintln(t, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, o := range outcomes {
		p50, most := summary(o.recovery)
		fmt.Fprintf(t, "| %s\t| %d\t| %d\t| %d\t| %d\t| %.1f s\t| %.1f s\t|\n", o.fault, o.injected, o.double, o.leaked, o.lost, p50, most)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, o := range outcomes {
		if o.remark != "" {
			fmt.Fprintf(w, "\n%s: %s\n", o.fault, o.remark)
		}
		if o.faults > 0 {
			fmt.Fprintf(w, "\n%s: FAILED, see above\n", o.fault)
		}
	}
	return nil
}

// summary returns the median and the maximum in seconds.
func summary(times []time.Duration) (p50, most float64) {
	if len(times) == 0 {
		return 0, 0
	}
	return percentile(times, 50).Seconds(), slices.Max(times).Seconds()
}

// percentile returns the smallest of times that at least p per cent of them do not exceed.
func percentile(times []time.Duration, p int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}
