package daemon

import (
	"net/netip"

	"sandpool/daemon/network"
)

// newNetwork makes what serves the doors of sandboxes.
func (d *Daemon) newNetwork() *network.Server {
	c := d.Config.Network
	var resolvers []netip.AddrPort
	for _, text := range c.Resolvers {
		if address, err := netip.ParseAddrPort(text); err == nil { // the configuration was checked
			resolvers = append(resolvers, address)
		}
	}
	return network.New(network.Options{
		Log: d.Log, Resolvers: resolvers, LookupTimeout: c.ResolveTimeout.Std(), ConnectTimeout: c.ConnectTimeout.Std(), Connections: c.MaxConnections,
	})
}
