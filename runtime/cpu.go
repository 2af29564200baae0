package runtime

import (
	"slices"
	"time"
)

// clockTick is the unit of processor time in /proc, which Linux shows as the same on every machine.
const clockTick = 10 * time.Millisecond

// CPUTimes returns the processor time that the sentry of each sandbox and the sentry's descendants have used, by one look
// at all processes. A sandbox that has none is left out.
func (e *Engine) CPUTimes(ids ...string) (map[string]time.Duration, error) {
	all, err := allProcesses()
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	owners := map[int]string{}
	for _, p := range all {
		if !isSentry(p.args) {
			continue
		}
		if at := slices.IndexFunc(p.args, func(arg string) bool { return wanted[arg] }); at >= 0 {
			owners[p.pid] = p.args[at]
		}
	}
	inherit(all, owners)
	used := map[string]time.Duration{}
	for _, p := range all {
		if owner := owners[p.pid]; owner != "" {
			used[owner] += time.Duration(p.ticks) * clockTick
		}
	}
	return used, nil
}
