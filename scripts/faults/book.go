package main

import (
	"slices"
	"sync"
	"time"

	"sandpool/daemon/wire"
	"sandpool/scripts/faults/tenant"
)

// entry is one answered claim.
type entry struct {
	claim     wire.Claim     // as it was answered last
	mark      string         // what is in a file of the sandbox: the id of the claim that wrote it; empty: perhaps nothing
	extending int            // extensions that were asked for and not answered: they may have happened or not
	saving    int            // checkpoints of which the same is true
	ending    bool           // its release was asked for: it may have happened or not
	ended     bool           // its release was answered
	tenant    *tenant.Tenant // who works in it; nil: nobody
}

// over tells whether a claim may have come to its end by itself.
func (e entry) over() bool { return !time.Now().Before(e.claim.ExpiresAt) }

// saved is one answered checkpoint.
type saved struct {
	mark              string // of the sandbox that was saved
	ending, forgotten bool   // its deletion was asked for, and answered
}

// book is what the clients know: what they asked for, what they got and what they gave back.
type book struct {
	mu      sync.Mutex
	asked   map[string]bool         // request ids
	entries map[string]*entry       // by claim id
	given   map[string]string       // claim ids by sandbox
	saved   map[string]*saved       // by checkpoint id
	waiting map[*tenant.Tenant]bool // whose claim was asked for and not answered
	forking int                     // forks that were asked for and not answered
}

func newBook() *book {
	return &book{asked: map[string]bool{}, entries: map[string]*entry{}, given: map[string]string{}, saved: map[string]*saved{}, waiting: map[*tenant.Tenant]bool{}}
}

// ask notes that a claim is asked for.
func (b *book) ask(request string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked[request] = true
}

// grant notes an answered claim. It returns the other claim that got the same sandbox, or "".
func (b *book) grant(claim wire.Claim) (e *entry, other string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entries[claim.ID]; e != nil {
		return e, ""
	}
	other = b.given[claim.Sandbox]
	e = &entry{claim: claim}
	b.entries[claim.ID], b.given[claim.Sandbox] = e, claim.ID
	return e, other
}

// keep notes an answered checkpoint of e.
func (b *book) keep(id string, e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.saved[id] = &saved{mark: e.mark}
}

// set changes an entry.
func (b *book) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// find returns what is known of a claim: the entry of an answered one, and whether its request was made at all.
func (b *book) find(c wire.Claim) (e entry, answered, asked bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known := b.entries[c.ID]; known != nil {
		return *known, true, true
	}
	return entry{}, false, b.asked[c.RequestID]
}

// of returns what is known of an answered claim by its id.
func (b *book) of(claim string) (e entry, answered bool) {
	e, answered, _ = b.find(wire.Claim{ID: claim})
	return e, answered
}

// held returns the claims that were answered and not told to end.
func (b *book) held() []entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	var held []entry
	for _, e := range b.entries {
		if !e.ending {
			held = append(held, *e)
		}
	}
	slices.SortFunc(held, func(a, b entry) int { return a.claim.ClaimedAt.Compare(b.claim.ClaimedAt) })
	return held
}
