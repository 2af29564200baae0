package size

import (
	"math"
	"math/rand/v2"
	"testing"
)

// seedModel is the warm pool controller of the project's brief, as it is written there: its checkAndReplenish and the
// drain of its monitoring loop, but for three corrections. An empty pool has no use, where the brief divides by zero;
// what is warming counts against the maximum, where the brief over-creates; and per cents are exact.
type seedModel struct{ min, max, target, up, down float64 }

func (m seedModel) replenish(available, inUse, warming float64) float64 {
	total := available + inUse
	if total == 0 {
		return 0
	}
	utilizationPercent := (inUse + warming) * 100 / total
	if utilizationPercent >= m.up {
		return max(0, math.Min(m.max-total-warming, math.Ceil(m.target*0.2)))
	}
	return 0
}

func (m seedModel) drain(available, inUse float64) float64 {
	total := available + inUse
	if total == 0 {
		return 0
	}
	utilizationPercent := inUse * 100 / total
	if utilizationPercent < m.down && total > m.min {
		return math.Min(available, math.Min(total-m.min, math.Ceil(m.target*0.1)))
	}
	return 0
}

// TestRulesAreTheSeeds compares the rules with the model over a hundred thousand random pools.
func TestRulesAreTheSeeds(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 100_000 {
		s := Size{ScaleUp: 1 + random.IntN(100)}
		s.ScaleDown = random.IntN(s.ScaleUp)
		s.Max = 1 + random.IntN(120)
		s.Target = random.IntN(s.Max + 1)
		s.Min = random.IntN(s.Target + 1)
		c := Counts{Available: random.IntN(s.Max + 1), InUse: random.IntN(s.Max + 1), Warming: random.IntN(20)}
		m := seedModel{float64(s.Min), float64(s.Max), float64(s.Target), float64(s.ScaleUp), float64(s.ScaleDown)}
		if got, want := s.Growth(c), m.replenish(float64(c.Available), float64(c.InUse), float64(c.Warming)); float64(got) != want {
			t.Fatalf("seed %d: %+v of %+v grows by %d, want %v", seed, c, s, got, want)
		}
		if got, want := s.Drain(c), m.drain(float64(c.Available), float64(c.InUse)); float64(got) != want {
			t.Fatalf("seed %d: %+v of %+v drains %d, want %v", seed, c, s, got, want)
		}
	}
}
