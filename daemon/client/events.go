package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
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
	req, err := newRequest(ctx, http.MethodGet, "/v1/events?"+query.Encode(), nil)
	if err != nil {
		return after, err
	}
	resp, err := c.client().Do(req)
	if err != nil {
		return after, callError(req, err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	if resp.StatusCode >= http.StatusMultipleChoices {
		return after, readError(resp)
	}
	cursor = cmp.Or(resp.Header.Get(wire.CursorHeader), after)
	for lines := json.NewDecoder(resp.Body); ; {
		var e wire.Event
		if err := lines.Decode(&e); errors.Is(err, io.EOF) {
			return cursor, nil
		} else if err != nil {
			return cursor, callError(req, err)
		}
		if err := each(e); err != nil {
			return cursor, err
		}
		cursor = e.Cursor
	}
}
