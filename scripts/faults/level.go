package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	levelTimeout = 20 * time.Second
	// slack is how many goroutines and files more than before are no leak: connections that idle, pools of libraries.
	slack = 12
	// perDoor is how many of either the door of a sandbox takes: a pool may for a while be larger than it was.
	perDoor = 4
)

// level is how much a daemon at rest holds.
type level struct {
	pid, sandboxes    int // sandboxes: of its pools
	goroutines, files float64
}

// exceeds is whether a daemon holds more than its sandboxes account for, by what it held at rest.
func (l level) exceeds(rest level) bool {
	more := float64(slack + perDoor*(l.sandboxes-rest.sandboxes))
	return l.goroutines > rest.goroutines+more || l.files > rest.files+more
}

// measure reads the daemon's metrics, and how large its pools are.
func (r *rig) measure(ctx context.Context) (level, error) {
	resp, err := r.request(ctx, http.MethodGet, "/metrics", "")
	if err != nil {
		return level{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	l := level{pid: r.daemon.Pid()}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case "go_goroutines":
			l.goroutines, err = strconv.ParseFloat(value, 64)
		case "process_open_fds":
			l.files, err = strconv.ParseFloat(value, 64)
		}
		if err != nil {
			return level{}, fmt.Errorf("read metric %s: %w", name, err)
		}
	}
	if err := lines.Err(); err != nil {
		return level{}, err
	}
	pools, err := r.client.Pools(ctx)
	for _, p := range pools {
		l.sandboxes += p.Total
	}
	return l, err
}

// checkLevel waits until the daemon holds as much as it did at rest before the fault. A new daemon sets a new level.
func (r *rig) checkLevel(ctx context.Context) {
	var now level
	var last error
	if await(ctx, levelTimeout, func(ctx context.Context) bool {
		l, err := r.measure(ctx)
		if last = err; err != nil {
			return false
		}
		now = l
		return now.pid != r.level.pid || !now.exceeds(r.level)
	}) {
		if now.pid != r.level.pid {
			r.level = now
		}
		return
	}
	r.out.leak("the daemon had %+v at rest and has %+v, %v", r.level, now, last)
}

// request sends a request for which the client has no method, on a connection of its own.
func (r *rig) request(ctx context.Context, method, path, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://sandpoold"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", r.socket)
		},
		DisableKeepAlives: true,
	}
	return transport.RoundTrip(req)
}
