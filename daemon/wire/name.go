package wire

import "time"

// PoolName is the name of the pool of a template in a region.
func PoolName(region, template string) string { return region + ":" + template }

// Milliseconds is a time as the API gives it in numbers.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
