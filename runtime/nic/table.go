package nic

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	mdnetlink "github.com/mdlayher/netlink"

	"sandpool/runtime/egress"
)

// The tables of a daemon, one in which interfaces are translated and one that filters, have one name. In the second each sandbox has a chain, one
// for its rules and one for each layer of those, and a set of what names led to.
func (h *Host) name() string { return "sandpool-" + h.mark }

func (h *Host) filter() *nftables.Table {
	return &nftables.Table{Name: h.name(), Family: nftables.TableFamilyIPv4}
}

func (h *Host) netdev() *nftables.Table {
	return &nftables.Table{Name: h.name(), Family: nftables.TableFamilyNetdev}
}

// chainOf is what a sandbox's own chain is called: its id, and its number.
func chainOf(sandbox string, s slot) string { return fmt.Sprintf("%s-%04x", sandbox, s.number) }

var chainPattern = regexp.MustCompile(`^(sb-[a-z2-7]{16})-([0-9a-f]{4})$`)

func layersOf(sandbox string) string { return sandbox + "-layers" }

func admitOf(sandbox string) string { return sandbox + "-admit" }

func layerOf(sandbox string, i int) string { return fmt.Sprintf("%s-layer-%d", sandbox, i) }

// chain is a chain of the table that filters, as it is referred to.
func (h *Host) chain(name string) *nftables.Chain {
	return &nftables.Chain{Name: name, Table: h.filter()}
}

func (h *Host) slotsSet() *nftables.Set {
	return &nftables.Set{Table: h.filter(), Name: "slots", IsMap: true, KeyType: nftables.TypeIFName, DataType: nftables.TypeVerdict}
}

func (h *Host) names(sandbox string) *nftables.Set {
	return &nftables.Set{
		Table: h.filter(), Name: sandbox + "-names", Concatenation: true, HasTimeout: true, Size: maxNames,
		KeyType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService),
	}
}

const (
	refuse = "refuse"
	// maxNames is how many pairs of address and port a sandbox may have from names.
	maxNames = 1 << 14
	// nameTime is how long a pair is good for new connections. What a name leads to is told to sandboxes for a shorter time.
	nameTime = 10 * time.Minute
)

// room is for the longest rules, which are one message, and for what the kernel says of each, in bytes.
const room = 32 << 20

// batch has the kernel do all of some changes, or none.
func batch(do func(*nftables.Conn) error) error {
	c, err := nftables.New(nftables.WithSockOptions(func(s *mdnetlink.Conn) error { return errors.Join(s.SetWriteBuffer(room), s.SetReadBuffer(room)) }))
	if err != nil {
		return fmt.Errorf("open nf_tables: %w", err)
	}
	if err := do(c); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("change rules of nf_tables: %w", err)
	}
	return nil
}

// load reads once whose slots there are.
func (h *Host) load() error {
	if h.slots != nil {
		return nil
	}
	slots, err := h.list()
	if err != nil {
		return err
	}
	h.slots, h.next = slots, uint16(rand.Uint32()) //nolint:gosec // any will do, and it is no secret
	for id := range slots {
		h.ids.Store(id, true)
	}
	h.loaded.Store(true)
	return nil
}

// unlessGone is nil if the rules of a sandbox are not there: others may have flushed them.
func (h *Host) unlessGone(sandbox string, err error) error {
	slots, listErr := h.list()
	if _, there := slots[sandbox]; !there && listErr == nil {
		return nil
	}
	return errors.Join(err, listErr)
}

// list reads from the names of chains whose slots there are.
func (h *Host) list() (map[string]slot, error) {
	names, err := steady(h.chainNames)
	if err != nil {
		return nil, err
	}
	slots := map[string]slot{}
	for _, name := range names {
		if m := chainPattern.FindStringSubmatch(name); m != nil {
			number, _ := strconv.ParseUint(m[2], 16, 16) // the pattern holds
			slots[m[1]] = slot{number: uint16(number), bounded: slices.Contains(names, admitOf(m[1]))}
		}
	}
	return slots, nil
}

// chainNames are those of the table that filters. Where nothing can be made there are none.
func (h *Host) chainNames() (names []string, err error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nf_tables: %w", err)
	}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil && !unable(err) {
		return nil, fmt.Errorf("list chains of nf_tables: %w", err)
	}
	for _, chain := range chains {
		if chain.Table.Name == h.name() {
			names = append(names, chain.Name)
		}
	}
	return names, nil
}

// steady lists until that says the same twice: the kernel leaves some out of a long list while others, of any program, are removed.
func steady(list func() ([]string, error)) ([]string, error) {
	before, err := list()
	if err != nil {
		return nil, err
	}
	for range attempts {
		now, err := list()
		if err != nil {
			return nil, err
		}
		if slices.Equal(before, now) {
			return now, nil
		}
		before = now
	}
	return nil, errdefs.ErrUnavailable.WithMessage("list chains of nf_tables: they change all the time")
}

// addTables makes what all sandboxes have in common, or makes it anew.
func (h *Host) addTables(c *nftables.Conn) error {
	c.AddTable(h.netdev())
	table := c.AddTable(h.filter())
	if err := c.AddSet(h.slotsSet(), nil); err != nil {
		return err
	}
	reject := c.AddChain(h.chain(refuse))
	base := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
		return c.AddChain(&nftables.Chain{Name: name, Table: table, Type: kind, Hooknum: hook, Priority: priority})
	}
	forward := base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	input := base("input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter)
	output := base("output", nftables.ChainTypeFilter, nftables.ChainHookOutput, nftables.ChainPriorityFilter)
	leave := base("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	for _, chain := range []*nftables.Chain{reject, forward, input, output, leave} {
		c.FlushChain(chain)
	}
	from, to := device(expr.MetaKeyIIFNAME, h.prefix()), device(expr.MetaKeyOIFNAME, h.prefix())
	rule := func(chain *nftables.Chain, parts ...[]expr.Any) { add(c, chain, parts...) }

	rule(reject, protocol(tcp), one(&expr.Reject{Type: rejectReset}))
	rule(reject, one(&expr.Reject{Type: rejectUnreachable, Code: portUnreachable}))

	rule(forward, from, to, verdict(expr.VerdictGoto, refuse)) // sandboxes have nothing to do with each other
	rule(forward, h.bySlot())
	rule(forward, from, verdict(expr.VerdictDrop, ""))
	rule(forward, to, state(established|related), verdict(expr.VerdictAccept, ""))
	rule(forward, to, verdict(expr.VerdictDrop, ""))
	rule(input, from, verdict(expr.VerdictGoto, refuse)) // what is the host's own
	rule(output, to, state(established|related), verdict(expr.VerdictAccept, ""))
	rule(output, to, verdict(expr.VerdictDrop, ""))
	rule(leave, source(reserved), one(&expr.Masq{}))
	return nil
}

// addRules adds a sandbox's chains. Nothing passes until there are rules.
func (h *Host) addRules(sandbox string, s slot) error {
	return batch(func(c *nftables.Conn) error {
		if err := h.addTables(c); err != nil { // each time: others may have flushed them
			return err
		}
		if err := c.AddSet(h.names(sandbox), nil); err != nil {
			return err
		}
		own := c.AddChain(h.chain(chainOf(sandbox, s)))
		rules := c.AddChain(h.chain(layersOf(sandbox)))
		add(c, own, state(established), verdict(expr.VerdictAccept, "")) // not related: errors of ICMP could be about connections of others
		add(c, own, protocol(tcp), verdict(expr.VerdictGoto, rules.Name))
		add(c, own, protocol(udp), verdict(expr.VerdictGoto, rules.Name))
		add(c, own, verdict(expr.VerdictGoto, refuse))
		add(c, rules, verdict(expr.VerdictGoto, refuse))
		if err := h.addAdmission(c, sandbox); err != nil {
			return err
		}
		h.translate(c, sandbox, s, h.device(s))
		return c.SetAddElements(h.slotsSet(), []nftables.SetElement{{Key: ifname(h.device(s)), VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: own.Name}}})
	})
}

// translate gives what comes from a sandbox its address on the host, and what goes there the one that it has inside. What is not from that address is
// dropped here, before anything looks at it.
func (h *Host) translate(c *nftables.Conn, sandbox string, s slot, device string) {
	hook := func(name string, at *nftables.ChainHook) *nftables.Chain {
		return c.AddChain(&nftables.Chain{
			Name: sandbox + name, Table: h.netdev(), Type: nftables.ChainTypeFilter, Hooknum: at, Priority: nftables.ChainPriorityFilter, Device: device,
		})
	}
	in, out := hook("-in", nftables.ChainHookIngress), hook("-out", nftables.ChainHookEgress)
	drop := verdict(expr.VerdictDrop, "")
	add(c, in, notIPv4(), drop)
	add(c, in, notFrom(guest), drop)
	add(c, in, write(s.address(), sourceOffset))
	add(c, out, notIPv4(), drop)
	for _, kind := range []byte{icmpUnreachable, icmpTimeExceeded, icmpParameter} { // the sandbox looks for its own address in what the error is about
		add(c, out, protocol(icmp), icmpType(kind), writeQuoted(guest))
	}
	add(c, out, write(guest, destinationOffset))
}

// applyFilter replaces the rules of a sandbox. Layers are jumped to in turn: if one led to the next, the kernel would look at all ways through them, and
// allows few.
func (h *Host) applyFilter(c *nftables.Conn, sandbox string, lists [][]egress.Clause) error {
	c.FlushSet(h.names(sandbox))
	rules := h.chain(layersOf(sandbox))
	c.FlushChain(rules)
	admit := verdict(expr.VerdictGoto, admitOf(sandbox))
	add(c, rules, inSet(h.names(sandbox)), admit)
	for i, list := range lists {
		own := c.AddChain(h.chain(layerOf(sandbox, i)))
		c.FlushChain(own)
		for _, clause := range list {
			decision := verdict(expr.VerdictGoto, refuse)
			if clause.Pass {
				decision = verdict(expr.VerdictReturn, "")
			}
			ports := clause.Ports
			if ports == nil {
				add(c, own, destination(clause.To), decision)
			}
			for _, port := range ports {
				add(c, own, destination(clause.To), destinationPort(port), decision)
			}
		}
		add(c, own, verdict(expr.VerdictGoto, refuse))
		add(c, rules, verdict(expr.VerdictJump, own.Name))
	}
	add(c, rules, admit)
	return nil
}

// addNames adds pairs to the set of a sandbox, or gives those that are there their time anew.
func (h *Host) addNames(c *nftables.Conn, sandbox string, to []netip.AddrPort) error {
	list := make([]nftables.SetElement, 0, len(to))
	for _, t := range to {
		list = append(list, nftables.SetElement{Key: pair(t), Timeout: nameTime})
	}
	set := h.names(sandbox)
	if err := c.SetAddElements(set, list); err != nil {
		return err
	}
	if err := c.SetDeleteElements(set, list); err != nil {
		return err
	}
	return c.SetAddElements(set, list)
}

// deleteRules removes a sandbox's chains and set, as many of them as there are.
func (h *Host) deleteRules(sandbox string, s slot) error {
	return batch(func(c *nftables.Conn) error {
		element := []nftables.SetElement{{Key: ifname(h.device(s)), VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: chainOf(sandbox, s)}}}
		if err := c.SetDeleteElements(h.slotsSet(), element); err != nil {
			return err
		}
		optional := []*nftables.Chain{h.chain(admitOf(sandbox))}
		for i := range egress.MaxLayers {
			optional = append(optional, h.chain(layerOf(sandbox, i)))
		}
		if err := c.AddSet(h.flows(sandbox), nil); err != nil {
			return err
		}
		for _, chain := range optional {
			c.AddChain(chain) // so that it is there, as the set is
		}
		chains := append([]*nftables.Chain{h.chain(chainOf(sandbox, s)), h.chain(layersOf(sandbox))}, optional...)
		for _, chain := range chains {
			c.FlushChain(chain)
		}
		for _, chain := range chains {
			c.DelChain(chain)
		}
		c.DelSet(h.names(sandbox))
		c.DelSet(h.flows(sandbox))
		return h.deleteTranslation(c, sandbox)
	})
}

// deleteTranslation removes the chains of an interface. Kernels before 6.16 remove them with it.
func (h *Host) deleteTranslation(c *nftables.Conn, sandbox string) error {
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyNetdev)
	if err != nil {
		return fmt.Errorf("list chains of nf_tables: %w", err)
	}
	for _, chain := range chains {
		if chain.Table.Name == h.name() && (chain.Name == sandbox+"-in" || chain.Name == sandbox+"-out") {
			chain.Table = h.netdev()
			c.FlushChain(chain)
			c.DelChain(chain)
		}
	}
	return nil
}

func (h *Host) deleteTables() error {
	return batch(func(c *nftables.Conn) error {
		for _, table := range []*nftables.Table{h.netdev(), h.filter()} {
			c.AddTable(table) // so that it is there
			c.DelTable(table)
		}
		return nil
	})
}
