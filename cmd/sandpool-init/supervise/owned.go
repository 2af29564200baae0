package supervise

import (
	"time"

	"sandpool/cmd/sandpool-init/procs"
	"sandpool/runtime/supervisor/protocol"
)

const (
	fewOwned  = 256                   // so many are kept without a look whether they live
	ownedSkew = 50 * time.Millisecond // by which the kernel's count of a process's start may be off
)

// owned are processes that others started and that end with a connection, by when that was said: a process of the same number that began later is
// another.
type owned map[int]time.Time

// own notes that a process ends with the connection.
func (l *link) own(payload []byte) {
	asked, err := protocol.Asked(payload, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || asked[0] < 2 || l.closed {
		return
	}
	if l.owned == nil {
		l.owned = owned{}
	}
	if n := len(l.owned); n >= fewOwned && n&(n-1) == 0 { // at each power of two
		l.owned.trim()
	}
	l.owned[int(asked[0])] = time.Now()
}

// trim drops those that have ended.
func (o owned) trim() {
	boot := procs.BootTime()
	for pid, said := range o {
		if p, there := procs.LookAt(protocol.Process{PID: pid}, boot); !there || p.State == "Z" || p.Started.After(said.Add(ownedSkew)) {
			delete(o, pid)
		}
	}
}

// end ends the sessions of those that live.
func (o owned) end(session func(leader int) error) {
	o.trim()
	for pid := range o {
		_ = session(pid) // it may end by itself meanwhile
	}
}
