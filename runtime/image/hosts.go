package image

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/auth"
	"github.com/containerd/errdefs"
)

// How long a registry that asks for a pause is left alone: what it says, within bounds, or if it does not say, longer than a
// template's own pauses begin with.
const (
	leastPause = time.Second
	usualPause = time.Minute
	mostPause  = time.Hour
)

// pauses are the registries that asked to be left alone, for all images of theirs. The zero value has none.
type pauses struct {
	mu    sync.Mutex
	hosts map[string]*pausedError
}

// pausedError says that a registry is left alone. Its class is Unavailable.
type pausedError struct {
	host, status string
	until        time.Time
}

func (p *pausedError) Error() string {
	return fmt.Sprintf("registry %s answers %s: it is asked again after %s", p.host, p.status, p.until.UTC().Format(time.RFC3339))
}

func (p *pausedError) Unwrap() error { return errdefs.ErrUnavailable }

// of says that a host is left alone now, or nothing.
func (p *pauses) of(host string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if held := p.hosts[host]; held != nil && time.Now().Before(held.until) {
		return held
	}
	delete(p.hosts, host)
	return nil
}

// note says that an answer asks for a pause, or nothing. An overload without a time is left to the pauses of who asks.
func (p *pauses) note(host string, resp *http.Response) error {
	told := resp.Header.Get("Retry-After")
	if resp.StatusCode != http.StatusTooManyRequests && (resp.StatusCode != http.StatusServiceUnavailable || told == "") {
		return nil
	}
	held := &pausedError{host, resp.Status, time.Now().Add(pauseOf(told, time.Now()))}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hosts == nil {
		p.hosts = map[string]*pausedError{}
	}
	p.hosts[host] = held
	return held
}

// pauseOf is how long a header Retry-After, of seconds or a date, asks to wait.
func pauseOf(told string, now time.Time) time.Duration {
	pause := usualPause
	if seconds, err := strconv.ParseUint(told, 10, 31); err == nil {
		pause = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(told); err == nil {
		pause = date.Sub(now)
	}
	return min(max(pause, leastPause), mostPause)
}

// tokenHosts are the hosts, other than their own, that well-known registries have passwords sent to.
var tokenHosts = map[string]string{"registry-1.docker.io": "auth.docker.io", "registry.gitlab.com": "gitlab.com"}

// guarded keeps the password of a registry from all but the registry's own host, by HTTPS, and the hosts that are listed. A registry that
// is itself asked by plain HTTP may have it sent to where it is asked.
type guarded struct {
	docker.Authorizer

	credentials func(host string) (string, string, error)
	listed      []string
}

// AddResponses takes the registry's answer, which says where tokens are got.
func (g guarded) AddResponses(ctx context.Context, responses []*http.Response) error {
	last := responses[len(responses)-1]
	registry := last.Request.URL
	for _, challenge := range auth.ParseAuthHeader(last.Header) {
		if challenge.Scheme != auth.BearerAuth {
			continue
		}
		realm, err := url.Parse(challenge.Parameters["realm"])
		if err != nil || !g.trusts(registry, realm) {
			_, secret, credErr := g.credentials(registry.Host)
			if credErr != nil {
				return credErr
			}
			if secret != "" {
				return errdefs.ErrPermissionDenied.WithMessage(fmt.Sprintf(
					"registry %s wants its password sent to %s: it is not, since that is not its own host by HTTPS; list the host in images.token_hosts if it is right",
					registry.Host, where(realm)))
			}
		}
	}
	return g.Authorizer.AddResponses(ctx, responses)
}

func (g guarded) trusts(registry, realm *url.URL) bool {
	if realm.Scheme != "https" {
		return realm.Scheme == registry.Scheme && realm.Host == registry.Host
	}
	host := realm.Hostname()
	return host != "" && (host == registry.Hostname() || host == tokenHosts[registry.Hostname()] || slices.Contains(g.listed, strings.TrimSuffix(realm.Host, ":443")))
}

// where is a URL as far as its host.
func where(u *url.URL) string {
	if u == nil || u.Host == "" {
		return "nowhere"
	}
	return u.Scheme + "://" + u.Host
}

// downgraded tells whether a request follows a redirect from HTTPS to plain HTTP.
func downgraded(req *http.Request) bool {
	return req.URL.Scheme == "http" && req.Response != nil && req.Response.Request != nil && req.Response.Request.URL.Scheme == "https"
}
