package pool

import (
	"math"
	"time"
)

// demandWindow is how far back claims are remembered: after it, a silent pool's rate has fallen to 37 %.
const demandWindow = time.Minute

// demand measures how fast a pool's sandboxes are claimed and how fast they can be replaced.
type demand struct {
	rate   float64 // claims a second, at the time of the last one
	last   time.Time
	refill time.Duration // start of one sandbox, averaged over the last few
}

// claim notes a claim.
func (d *demand) claim(now time.Time) {
	d.rate = d.rateAt(now) + 1/demandWindow.Seconds()
	d.last = now
}

// rateAt returns the claims a second, which decay when there are none.
func (d *demand) rateAt(now time.Time) float64 {
	return d.rate * math.Exp(-now.Sub(d.last).Seconds()/demandWindow.Seconds())
}

// started notes how long a start took.
func (d *demand) started(took time.Duration) {
	if d.refill == 0 {
		d.refill = took
	}
	d.refill += (took - d.refill) / 4
}

// target is how many sandboxes are claimed while one is started.
func (d *demand) target(now time.Time) int {
	return int(math.Ceil(d.rateAt(now) * d.refill.Seconds()))
}
