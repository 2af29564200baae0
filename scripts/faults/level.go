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
)

// level is how much a daemon at rest holds.
type level struct {
	pid               int
	goroutines, files float64
}

// measure reads the daemon's metrics.
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
	return l, lines.Err()
}

// checkLevel waits until the daemon holds as much as it did at rest before the fault. A new daemon sets a new level.
func (r *rig) checkLevel(ctx context.Context) {
	var now level
	var err error
	if await(ctx, levelTimeout, func(ctx context.Context) bool {
		now, err = r.measure(ctx)
		return err == nil && (now.pid != r.level.pid || now.goroutines <= r.level.goroutines+slack && now.files <= r.level.files+slack)
	}) {
		if now.pid != r.level.pid {
			r.level = now
		}
		return
	}
	r.out.leak("the daemon had %+v at rest and has %+v, %v", r.level, now, err)
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
