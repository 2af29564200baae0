package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"sandpool/daemon/wire"
)

const (
	// maxAnswer is how much of an answer is read, in bytes, so that its connection can be used again.
	maxAnswer = 64 << 10
	// idleTimeout is how long a connection waits for the next event.
	idleTimeout = 90 * time.Second
)

// poster posts events to a URL.
type poster struct {
	url    string
	client *http.Client
}

func newPoster(hook Hook, transport http.RoundTripper) *poster {
	return &poster{url: hook.URL, client: &http.Client{
		Transport: transport,
		// Following one would turn most POSTs into a GET without the event, whose success means nothing.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// post makes one request. Its errors do not show the URL, which may hold a secret.
func (p *poster) post(ctx context.Context, _ wire.Event, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return hideURL(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "sandpoold")
	resp, err := p.client.Do(req)
	if err != nil {
		return hideURL(err)
	}
	defer resp.Body.Close()                                          //nolint:errcheck // it was only read
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // the status is all that counts
	if resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	return nil
}

func hideURL(err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		return outer.Err
	}
	return err
}
