package door

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Bounds of what is known of names, each of which has an address of 127.64.0.0/10.
const (
	maxNames     = 1024
	maxListeners = 4096
	maxName      = 253     // bytes
	maxAddresses = 1 << 22 // all that there are
)

// names are those that the sandbox may reach. A name keeps its address as long as it is known, and no other one gets that, ever: a client may have kept it.
type names struct {
	serve func(name string, port int) func(*socket) // serves connections to a name

	mu        sync.Mutex
	known     map[string]*name
	last      uint32 // address
	listeners int
	clock     uint64
}

// name is one of them.
type name struct {
	addr   [4]byte
	ports  map[int]*os.File // listeners
	listed bool             // in the table; others were asked for
	used   uint64           // when
}

func newNames(serve func(name string, port int) func(*socket)) *names {
	return &names{serve: serve, known: map[string]*name{}}
}

// canonical is a name as it is known.
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// list replaces the table of names, by the words of a door.Table. Those that are no longer in it take no connections. What cannot be
// listened on is an error, and all else is done.
func (n *names) list(words []string) error {
	table, err := tableOf(words)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, k := range n.known {
		if _, stays := table[name]; !stays && k.listed {
			_ = n.offerLocked(k, name, nil)
			k.listed = false
		}
	}
	var errs []error
	for name, ports := range table {
		k, err := n.enterLocked(name)
		if err == nil {
			k.listed = true
			err = n.offerLocked(k, name, ports)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// tableOf reads a table: names and their ports.
func tableOf(words []string) (map[string][]int, error) {
	if len(words)%2 != 0 || len(words) > 2*maxNames {
		return nil, fmt.Errorf("a table of %d words: the limit is %d names", len(words), maxNames)
	}
	table := map[string][]int{}
	for i := 0; i < len(words); i += 2 {
		ports, err := portsOf(strings.Split(words[i+1], ","))
		if err != nil {
			return nil, err
		}
		table[canonical(words[i])] = ports
	}
	return table, nil
}

func portsOf(words []string) (ports []int, err error) {
	for _, word := range words {
		port, err := strconv.ParseUint(word, 10, 16)
		if err != nil || port == 0 {
			return nil, fmt.Errorf("port %q: want a number from 1 to 65535", word)
		}
		ports = append(ports, int(port))
	}
	return ports, nil
}

// find returns the address of a name that is in the table.
func (n *names) find(name string) (addr [4]byte, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.known[name]
	if k == nil || !k.listed {
		return addr, false
	}
	return k.addr, true
}

// offer returns the address of a name that was asked for, at which its ports take connections from then on.
func (n *names) offer(name string, ports []int) (addr [4]byte, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k, err := n.enterLocked(name)
	if err == nil {
		err = n.offerLocked(k, name, ports)
	}
	if err != nil {
		return addr, err
	}
	return k.addr, nil
}

// enterLocked returns a name, which is given an address if it has none. The one that was used least recently makes room for it.
func (n *names) enterLocked(text string) (*name, error) {
	n.clock++
	if k := n.known[text]; k != nil {
		k.used = n.clock
		return k, nil
	}
	if len(n.known) >= maxNames && !n.forgetLocked() || n.last+1 >= maxAddresses {
		return nil, errors.New("there are too many names")
	}
	n.last++
	k := &name{addr: [4]byte{127, byte(64 | n.last>>16), byte(n.last >> 8), byte(n.last)}, ports: map[int]*os.File{}, used: n.clock} //nolint:gosec // bounded by maxAddresses
	n.known[text] = k
	return k, nil
}

func (n *names) forgetLocked() bool {
	oldest := ""
	for text, k := range n.known {
		if !k.listed && (oldest == "" || k.used < n.known[oldest].used) {
			oldest = text
		}
	}
	if oldest == "" {
		return false
	}
	_ = n.offerLocked(n.known[oldest], oldest, nil)
	delete(n.known, oldest)
	return true
}

// offerLocked has a name take connections to these ports, and to no others. Connections that are there stay.
func (n *names) offerLocked(k *name, text string, ports []int) error {
	wanted := map[int]bool{}
	for _, port := range ports {
		wanted[port] = true
	}
	for port, l := range k.ports {
		if !wanted[port] {
			_ = l.Close()
			delete(k.ports, port)
			n.listeners--
		}
	}
	for port := range wanted {
		if k.ports[port] != nil {
			continue
		}
		if n.listeners >= maxListeners {
			return errors.New("there are too many names and ports")
		}
		l, err := listen(&unix.SockaddrInet4{Port: port, Addr: k.addr}, n.serve(text, port))
		if err != nil {
			return err
		}
		k.ports[port] = l
		n.listeners++
	}
	return nil
}
