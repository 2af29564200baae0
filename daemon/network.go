package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/configs"
	"sandpool/daemon/network"
	"sandpool/daemon/processes"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime"
	"sandpool/runtime/template"
)

// eventDenied tells of a connection that the rules of a claim's network do not allow.
const eventDenied = "denied"

// ofDenied is news of one.
type ofDenied struct {
	claim pool.Claim
	entry wire.NetworkEntry
}

// newNetwork makes what serves the doors of sandboxes.
func (d *Daemon) newNetwork(p *parts) *network.Server {
	c := d.Config.Network
	var resolvers []netip.AddrPort
	for _, text := range c.Resolvers {
		if address, err := netip.ParseAddrPort(text); err == nil { // the configuration was checked
			resolvers = append(resolvers, address)
		}
	}
	return network.New(network.Options{
		Log: d.Log, Metrics: p.metrics, Tell: p.denied, Resolvers: resolvers, LookupTimeout: c.ResolveTimeout.Std(), ConnectTimeout: c.ConnectTimeout.Std(), Connections: c.MaxConnections, NICs: p.nics.Host,
	})
}

// setSecrets reads what requests of sandboxes are sent with.
func setSecrets(c configs.Config, n *network.Server) error {
	var all []network.Secret
	for _, s := range c.Secrets {
		header, value, roots, err := s.Read()
		if err != nil {
			return fmt.Errorf("read secret %s: %w", s.Name, err)
		}
		all = append(all, network.Secret{Name: s.Name, Hosts: s.HostNames(), Header: header, Value: value, Roots: roots})
	}
	n.SetSecrets(all)
	return nil
}

// networks is the network as the API sees it.
type networks struct{ *network.Server }

// Keep implements api.Networks.
func (n networks) Keep(own []wire.BoundSecret) (key string, err error) {
	given := make([]configs.Given, 0, len(own))
	for _, s := range own {
		given = append(given, configs.Given{
			Secret: configs.Secret{Name: s.Name, Hosts: s.Hosts, Header: s.Header, Value: cmp.Or(s.Value, configs.Placeholder), User: s.User, CAFile: s.CA}, Text: s.Secret,
		})
	}
	headers, values, err := configs.CheckGiven("bound_secrets", given)
	if err != nil {
		return "", errdefs.ErrInvalidArgument.WithMessage(err.Error())
	}
	kept := make([]network.Secret, 0, len(own))
	for i, s := range own {
		secret := network.Secret{Name: s.Name, Header: headers[i], Value: values[i]}
		if s.CA != "" {
			secret.Roots, _ = configs.ParseAuthorities([]byte(s.CA)) // it was checked
		}
		kept = append(kept, secret)
	}
	return n.Server.Keep(kept), nil
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

// denied tells the owner of a sandbox what it was denied. One of a pool has no owner; what it asks for is in its log.
func (p *parts) denied(sandbox string, e wire.NetworkEntry) {
	for _, claim := range p.pools.Claims() {
		if claim.Sandbox == sandbox {
			p.happened.put(ofDenied{claim, e})
		}
	}
}

func (d ofDenied) event(time.Time) wire.Event {
	detail := map[string]string{"name": d.entry.Name, "rule_kind": d.entry.Kind}
	for key, value := range map[string]string{"rule": d.entry.Rule, "address": d.entry.Address} {
		if value != "" {
			detail[key] = value
		}
	}
	if d.entry.Port != 0 {
		detail["port"] = strconv.Itoa(d.entry.Port)
	}
	return eventOf(eventDenied, d.claim, d.entry.Message, detail)
}
