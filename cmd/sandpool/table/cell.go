package table

import (
	"fmt"
	"strings"
	"time"
)

// Duration is a duration in its two largest units, rounded: 9m59s, 24h, 6d23h.
func Duration(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(d, 0)
	for _, unit := range []struct{ below, to time.Duration }{{10 * time.Minute, time.Second}, {2 * day, time.Minute}, {10 * day, time.Hour}} {
		if rounded := d.Round(unit.to); rounded < unit.below {
			return units(rounded)
		}
	}
	return units(d.Round(day))
}

// units is a duration without the units of which it has none.
func units(d time.Duration) string {
	var text strings.Builder
	if days := d / (24 * time.Hour); days >= 2 {
		fmt.Fprintf(&text, "%dd", days)
		d -= days * 24 * time.Hour
	}
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := d / unit.of; n > 0 {
			fmt.Fprintf(&text, "%d%s", n, unit.name)
			d -= n * unit.of
		}
	}
	if text.Len() == 0 {
		return "0s"
	}
	return text.String()
}

// Took is how long something took: 35 ms, 2.4 s.
func Took(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return Duration(d)
	}
}

// Bytes is a size: 512 B, 1.5 MiB, 2 GiB.
func Bytes(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n)/(1<<10), 0
	for ; size >= 1023.95 && unit < 3; unit++ {
		size /= 1 << 10
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", size), ".0") + " " + []string{"KiB", "MiB", "GiB", "TiB"}[unit]
}

// MiB is a limit in MiB as a size; one of 0 is none.
func MiB(n int) string {
	if n == 0 {
		return ""
	}
	return Bytes(int64(n) << 20)
}
