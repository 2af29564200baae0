// Package lifetime knows when claims end, and how: by a Lease of some Type, whose stages a Warden leads the claim through.
// It parses the durations of the configuration and of the API, too.
//
// It reaches the world through interfaces only, so its tests run in virtual time.
package lifetime

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that reads and writes as text, "90s", "1h30m" or "7d", in the configuration and in the API.
type Duration time.Duration

const (
	day     = 24 * time.Hour
	maxDays = uint64(math.MaxInt64 / day)
)

// ParseDuration reads what time.ParseDuration reads, and whole days ("7d") too.
func ParseDuration(s string) (Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 64)
		switch {
		case errors.Is(err, strconv.ErrRange), n > maxDays:
			return 0, tooLong(s)
		case err != nil:
			return 0, fmt.Errorf("duration %q: days must be a whole number, as in \"7d\"", s)
		}
		return Duration(time.Duration(n) * day), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil && wellFormed(s) {
		return 0, tooLong(s)
	}
	if err != nil {
		return 0, fmt.Errorf("duration %q: want a number and a unit, as in \"90s\", \"1h30m\" or \"7d\"", s)
	}
	return Duration(d), nil
}

func tooLong(s string) error {
	return fmt.Errorf("duration %q: is more than %dd, the longest that there is", s, maxDays)
}

// wellFormed tells whether only the numbers in a text keep it from being a duration: with zeros it is one.
func wellFormed(s string) bool {
	zeros := strings.Map(func(r rune) rune {
		if r >= '1' && r <= '9' {
			return '0'
		}
		return r
	}, s)
	_, err := time.ParseDuration(zeros)
	return err == nil && strings.TrimLeft(zeros, "+-") != "0" // which needs no unit
}

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String writes whole days as days and all else as time.Duration does.
func (d Duration) String() string {
	if std := time.Duration(d); std > 0 && std%day == 0 { // no negative days: ParseDuration does not read them
		return strconv.FormatInt(int64(std/day), 10) + "d"
	}
	return time.Duration(d).String()
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// Until is how long it is to a time, for people: in seconds, and below ten of them in milliseconds.
func Until(t time.Time) time.Duration {
	left := max(time.Until(t), 0)
	if left < 10*time.Second {
		return left.Round(time.Millisecond)
	}
	return left.Round(time.Second)
}
