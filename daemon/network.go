package daemon

import (
	"context"
	"net/netip"
	"strconv"

	"github.com/containerd/errdefs"

	"sandpool/daemon/network"
	"sandpool/daemon/processes"
	"sandpool/runtime"
	"sandpool/runtime/template"
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

// port connects to a port of a sandbox by its door, or else by a command in it, which takes longer.
func (p *parts) port(ctx context.Context, sandbox string, port int, spec runtime.ExecSpec) (processes.Process, error) {
	conn, err := p.network.Dial(ctx, sandbox, port)
	switch {
	case err == nil:
		return processes.Port(conn, spec), nil
	case errdefs.IsNotFound(err) || errdefs.IsUnavailable(err): // it has no door, or that is not open for now
		spec.Args = []string{template.InitPath, "connect", strconv.Itoa(port)}
		return p.engine.Exec(ctx, sandbox, spec)
	default:
		return nil, err
	}
}
