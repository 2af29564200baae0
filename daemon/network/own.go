package network

import (
	"crypto/rand"
	"fmt"
	"slices"
	"sync"

	"sandpool/daemon/wire"
	"sandpool/runtime/egress"
)

// vault has what the secrets of claims' own are made of, by the keys that are in the labels of their sandboxes. It is in memory only, so a daemon that
// is started again knows the keys and nothing behind them.
type vault struct {
	mu  sync.Mutex
	own map[string][]Secret
}

// Keep keeps secrets of a claim's own until the key that it returns is dropped.
func (n *Server) Keep(own []Secret) (key string) {
	key = rand.Text()
	n.vault.mu.Lock()
	defer n.vault.mu.Unlock()
	n.vault.own[key] = own
	return key
}

// Drop forgets what is kept by keys. Requests that would be sent with it are refused from then on.
func (n *Server) Drop(keys ...string) {
	n.vault.mu.Lock()
	defer n.vault.mu.Unlock()
	for _, key := range keys {
		delete(n.vault.own, key)
	}
}

// kept is a secret by its key and its name; without what it is made of if that is not there.
func (n *Server) kept(key string, b egress.Bound) Secret {
	n.vault.mu.Lock()
	defer n.vault.mu.Unlock()
	for _, s := range n.vault.own[key] {
		if s.Name == b.Name {
			s.Hosts = b.Hosts
			return s
		}
	}
	return Secret{Name: b.Name, Hosts: b.Hosts, lost: true}
}

// withOwn adds the claim's own secrets for a name to those of its template. One takes the place of those with the same header, and one that names no
// authorities has those of the template's that are left.
func (n *Server) withOwn(list []Secret, rules *egress.Rules, name string) []Secret {
	bound, key := rules.Bound()
	for _, b := range bound {
		if !slices.Contains(b.Hosts, name) {
			continue
		}
		own := n.kept(key, b)
		list = slices.DeleteFunc(list, func(s Secret) bool { return !own.lost && egress.SameHeader(s.Header, own.Header) })
		if own.Roots == nil && len(list) > 0 {
			own.Roots = list[0].Roots
		}
		list = append(list, own)
	}
	return list
}

// lost says that a request cannot have a secret that it should be sent with: without it none is sent.
func (t target) lost() error {
	for _, s := range t.secrets {
		if s.lost {
			return fmt.Errorf("a request to %s is sent with the secret %s of the claim, which the daemon does not have: it was started anew since it was given, or the claim goes on from a "+
				"checkpoint; who has the claim gives it again, by sandpool egress bind", t.name, s.Name)
		}
	}
	return nil
}

func (n *Server) describeOwn(rules *egress.Rules) (shown []wire.NetworkSecret) {
	bound, key := rules.Bound()
	for _, b := range bound {
		s := n.kept(key, b)
		shown = append(shown, wire.NetworkSecret{Name: s.Name, Hosts: s.Hosts, Own: true, Lost: s.lost})
	}
	return shown
}
