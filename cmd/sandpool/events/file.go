package events

import (
	"fmt"
	"time"

	"sandpool/daemon/wire"
)

// OfFile is one change of a file as a line.
func OfFile(e wire.FileEvent) string {
	dropped := ""
	if e.Dropped > 0 {
		dropped = fmt.Sprintf(" (%d events were dropped)", e.Dropped)
	}
	return fmt.Sprintf("%s %s %s%s", e.Time.Local().Format(time.TimeOnly), e.Kind, wire.Printable(e.Path), dropped)
}
