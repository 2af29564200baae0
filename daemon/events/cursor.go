package events

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
)

// runLength is the length of the name of a run.
const runLength = 8

// maxNumber is the highest number that an event in a file can have: 140 years at a million a second.
const maxNumber = 1 << 52

var cursorForm = regexp.MustCompile(`^([a-z2-7]{8})-(0|[1-9][0-9]{0,17})$`)

func cursor(run string, number uint64) string { return run + "-" + strconv.FormatUint(number, 10) }

// numberOf is the number of an event of the log.
func numberOf(e wire.Event) uint64 {
	_, number, _ := parseCursor(e.Cursor) // it was looked at when the event came into the log
	return number
}

func parseCursor(text string) (run string, number uint64, err error) {
	parts := cursorForm.FindStringSubmatch(text)
	if parts == nil {
		return "", 0, errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("%q is no cursor: want that of an event", text))
	}
	number, err = strconv.ParseUint(parts[2], 10, 64)
	if err != nil {
		return "", 0, errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("cursor: %v", err))
	}
	return parts[1], number, nil
}
