package network

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"sandpool/daemon/wire"
)

const (
	maxEntries = 512
	// maxLearned is how many names and ports are kept of what a sandbox connected to.
	maxLearned = 1024
	// tellAgain is when the same denial is told anew, and maxTold how many others are told meanwhile.
	tellAgain = time.Minute
	maxTold   = 32
)

// journal keeps the last of what a sandbox did.
type journal struct {
	noting  sync.Mutex
	entries []wire.NetworkEntry
	next    uint64        // the number of the newest
	more    chan struct{} // closed when there is one more; nil at the end
	learned map[string]struct{}
	told    map[string]time.Time
}

func newJournal() journal {
	return journal{more: make(chan struct{}), learned: map[string]struct{}{}, told: map[string]time.Time{}}
}

// add numbers and keeps an entry.
func (j *journal) add(e wire.NetworkEntry) wire.NetworkEntry {
	j.noting.Lock()
	defer j.noting.Unlock()
	j.next++
	e.Number, e.Time = j.next, time.Now().UTC()
	if len(j.entries) == maxEntries {
		j.entries = slices.Delete(j.entries, 0, 1)
	}
	j.entries = append(j.entries, e)
	if e.Result == wire.NetworkOpened && len(j.learned) < maxLearned {
		j.learned[rule(e)] = struct{}{}
	}
	if j.more != nil {
		close(j.more)
		j.more = make(chan struct{})
	}
	return e
}

// rule is what allows what an entry is about.
func rule(e wire.NetworkEntry) string {
	port := e.Port
	if len(e.Secrets) > 0 {
		port = httpsPort
	}
	return net.JoinHostPort(e.Name, strconv.Itoa(port))
}

// since returns what is newer than a number, the number to ask with next, and what is closed when there is more.
func (j *journal) since(number uint64) (entries []wire.NetworkEntry, next uint64, more <-chan struct{}) {
	j.noting.Lock()
	defer j.noting.Unlock()
	if j.more != nil {
		more = j.more
	}
	if number > j.next { // of a daemon before this one
		number = 0
	}
	first := slices.IndexFunc(j.entries, func(e wire.NetworkEntry) bool { return e.Number > number })
	if first < 0 {
		return nil, j.next, more
	}
	return slices.Clone(j.entries[first:]), j.next, more
}

// last is the newest entry about a name or address and port.
func (j *journal) last(name string, port int) *wire.NetworkEntry {
	j.noting.Lock()
	defer j.noting.Unlock()
	for _, e := range slices.Backward(j.entries) {
		if e.Name == name && (e.Port == port || e.Port == 0) {
			return &e
		}
	}
	return nil
}

// toTell tells whether others are to hear of a denial.
func (j *journal) toTell(e wire.NetworkEntry, now time.Time) bool {
	j.noting.Lock()
	defer j.noting.Unlock()
	for what, at := range j.told {
		if now.Sub(at) >= tellAgain {
			delete(j.told, what)
		}
	}
	what := fmt.Sprintf("%s %s %s", e.Name, e.Kind, e.Rule)
	if _, told := j.told[what]; told || len(j.told) == maxTold {
		return false
	}
	j.told[what] = now
	return true
}

// end wakes those who wait for more: there will be none.
func (j *journal) end() {
	j.noting.Lock()
	defer j.noting.Unlock()
	if j.more != nil {
		close(j.more)
		j.more = nil
	}
}

// Log returns what a sandbox did since an entry's number, of the last 512 entries; the number to ask with next; and a channel that is
// closed when there is more. A sandbox that is not known has no channel.
func (n *Server) Log(sandbox string, since uint64) (entries []wire.NetworkEntry, next uint64, more <-chan struct{}) {
	b, err := n.find(sandbox)
	if err != nil {
		return nil, since, nil
	}
	return b.since(since)
}

// Learned are rules that allow exactly what a sandbox was connected to, in order, of the first 1,024 names and ports.
func (n *Server) Learned(sandbox string) ([]string, error) {
	b, err := n.find(sandbox)
	if err != nil {
		return nil, err
	}
	b.noting.Lock()
	defer b.noting.Unlock()
	rules := make([]string, 0, len(b.learned))
	for r := range b.learned {
		rules = append(rules, r)
	}
	slices.Sort(rules)
	return rules, nil
}
