package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"sandpool/daemon/wire"
)

// Network returns what a claim may connect to.
func (c *Client) Network(ctx context.Context, id string) (wire.Network, error) {
	var network wire.Network
	return network, c.call(ctx, http.MethodGet, claimPath(id)+"/network", nil, &network)
}

// SetNetwork puts other rules of its own in place of a claim's and returns what it may connect to now.
func (c *Client) SetNetwork(ctx context.Context, id string, own wire.NetworkRules) (wire.Network, error) {
	var network wire.Network
	return network, c.call(ctx, http.MethodPut, claimPath(id)+"/network", own, &network)
}

// BindSecrets puts other secrets of its own, that requests are sent with, in place of a claim's and returns what it may connect to.
func (c *Client) BindSecrets(ctx context.Context, id string, own []wire.BoundSecret) (wire.Network, error) {
	var network wire.Network
	return network, c.call(ctx, http.MethodPut, claimPath(id)+"/network/secrets", wire.BoundSecrets{BoundSecrets: append([]wire.BoundSecret{}, own...)}, &network)
}

// WhyNetwork says what would become of a claim's connection to a port of a name or an address.
func (c *Client) WhyNetwork(ctx context.Context, id, name string, port int) (wire.NetworkWhy, error) {
	query := url.Values{"name": {name}, "port": {strconv.Itoa(port)}}
	var why wire.NetworkWhy
	return why, c.call(ctx, http.MethodGet, claimPath(id)+"/network/why?"+query.Encode(), nil, &why)
}

// NetworkLog calls each for what a claim did in the network, oldest first, behind the entry with a number; 0: from the oldest that is kept. With follow
// it goes on with what happens until the claim ends, which is no error, or the connection breaks. A daemon that is started again has kept none, and
// counts from 1. An error of each ends it and is returned as it is.
func (c *Client) NetworkLog(ctx context.Context, id string, since uint64, follow bool, each func(wire.NetworkEntry) error) error {
	query := url.Values{"since": {strconv.FormatUint(since, 10)}, "follow": {strconv.FormatBool(follow)}}
	resp, err := c.ask(ctx, http.MethodGet, claimPath(id)+"/network/log?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	return readLines(resp, each)
}
