package size

import (
	"math"
	"time"
)

// demandWindow is how far back claims are remembered: after it, a silent pool's rate has fallen to 37 %.
const demandWindow = time.Minute

// Demand measures how fast a pool's sandboxes are claimed and how fast they can be replaced. Its zero value knows of neither.
type Demand struct {
	rate   float64 // claims a second, at the time of the last one
	last   time.Time
	refill time.Duration // start of one sandbox, averaged over the last few
}

// Claim notes a claim.
func (d *Demand) Claim(now time.Time) {
	d.rate = d.rateAt(now) + 1/demandWindow.Seconds()
	d.last = now
}

// rateAt returns the claims a second, which decay when there are none.
func (d *Demand) rateAt(now time.Time) float64 {
	return d.rate * math.Exp(-now.Sub(d.last).Seconds()/demandWindow.Seconds())
}

// Started notes how long a start took.
func (d *Demand) Started(took time.Duration) {
	if d.refill == 0 {
		d.refill = took
	}
	d.refill += (took - d.refill) / 4
}

// Target is how many sandboxes are claimed while one is started.
func (d *Demand) Target(now time.Time) int {
	return int(math.Ceil(d.rateAt(now) * d.refill.Seconds()))
}
