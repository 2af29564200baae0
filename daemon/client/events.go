package client

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strconv"

	"sandpool/daemon/wire"
)

// Events calls each for the events behind a cursor that the caller may see, oldest first; of one claim, unless claim is empty.
// The empty cursor is before the oldest event that the daemon keeps, and wire.AfterNow before those from now on. With follow it
// goes on with what happens, until the daemon stops, which is no error, or the connection breaks.
//
// It returns where the next call goes on, also with an error. An error of each ends it and is returned as it is.
func (c *Client) Events(ctx context.Context, after, claim string, follow bool, each func(wire.Event) error) (cursor string, err error) {
	query := url.Values{"after": {after}, "claim": {claim}, "follow": {strconv.FormatBool(follow)}}
	resp, err := c.ask(ctx, http.MethodGet, "/v1/events?"+query.Encode(), nil)
	if err != nil {
		return after, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	cursor = cmp.Or(resp.Header.Get(wire.CursorHeader), after)
	err = readLines(resp, func(e wire.Event) error {
		err := each(e)
		if err == nil {
			cursor = e.Cursor
		}
		return err
	})
	return cursor, err
}
