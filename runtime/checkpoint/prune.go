package checkpoint

import (
	"time"
)

// Policy says which checkpoints are kept. A bound of zero is none.
type Policy struct {
	MaxAge   time.Duration
	MaxCount int
	MaxBytes int64
	Keep     map[string]bool // ids that are kept whatever the bounds say; they count all the same
}

// Prune deletes what a policy does not keep, the oldest first, and returns what it deleted. One in use stays. The newest goes
// only by its age: it may have been taken a moment ago.
func (s *Store) Prune(p Policy, now time.Time) []Manifest {
	all := s.List()
	count, total := len(all), int64(0)
	for _, m := range all {
		total += m.Bytes
	}
	var deleted []Manifest
	for i, m := range all {
		old := p.MaxAge > 0 && now.Sub(m.CreatedAt) > p.MaxAge
		excess := p.MaxCount > 0 && count > p.MaxCount || p.MaxBytes > 0 && total > p.MaxBytes
		if p.Keep[m.ID] || !old && (!excess || i == len(all)-1) {
			continue
		}
		if err := s.Delete(m.ID); err != nil {
			s.log.Debug("checkpoint could not be deleted; it is tried again", "checkpoint", m.ID, "err", err)
			continue
		}
		deleted = append(deleted, m)
		count, total = count-1, total-m.Bytes
	}
	return deleted
}
