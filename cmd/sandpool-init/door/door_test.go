package door

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandpool/runtime/door"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// shut returns a door that has no daemon yet, and where its DNS server and proxy will listen. Ports are those of the machine.
func shut(t *testing.T) (d *Door, dns, proxy int) {
	t.Helper()
	dns, proxy = freePort(t), freePort(t)
	return New(Options{DNS: dns, Proxy: proxy, Log: t.Logf}), dns, proxy
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// plug begins a session whose daemon is the test.
func plug(t *testing.T, d *Door, accept func(*door.Stream)) *door.Session {
	t.Helper()
	var ends [4]*os.File
	for i := 0; i < 4; i += 2 {
		var err error
		if ends[i], ends[i+1], err = os.Pipe(); err != nil {
			t.Fatal(err)
		}
	}
	s := door.New(ends[0], ends[3], door.Options{})
	var all sync.WaitGroup
	all.Go(func() {
		if err := s.Serve(accept); err != nil {
			t.Errorf("the daemon's end: %v", err)
		}
	})
	all.Go(func() { d.Serve(blocking(t, ends[2]), ends[1]) })
	t.Cleanup(func() {
		s.Close()
		all.Wait()
	})
	return s
}

// blocking is a pipe as process 1 has it.
func blocking(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(f.Close(), unix.SetNonblock(fd, false))
	}
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "pipe")
}

// table tells the door its names.
func table(t *testing.T, s *door.Session, words ...string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	st, _, err := s.Open(ctx, door.Ask{Kind: door.Table, Words: words})
	if err == nil {
		err = st.Close()
	}
	return err
}

// outside is what a daemon does in these tests: it says what it was asked for, and then what it hears.
func outside(ports ...string) func(*door.Stream) {
	return func(st *door.Stream) {
		ask := st.Ask()
		switch {
		case strings.HasPrefix(ask.Name, "denied"):
			_ = st.Refuse(door.Refusal{Reason: door.Denied})
		case strings.HasPrefix(ask.Name, "broken"):
			_ = st.Refuse(door.Refusal{Reason: door.Failed})
		case ask.Kind == door.Resolve:
			_ = st.Accept(ports...)
		case st.Accept() == nil:
			_, _ = fmt.Fprintf(st, "%d %s %d\n", ask.Kind, ask.Name, ask.Port)
			_, _ = io.Copy(st, st)
			_ = st.CloseWrite()
		}
	}
}

// lookUp asks the door for a name by Go's resolver.
func lookUp(t *testing.T, dns int, network, name string) ([]net.IP, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", dns))
	}}
	return r.LookupIP(ctx, "ip", name+".")
}

func dialTo(t *testing.T, ip net.IP, port int) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp4", fmt.Sprintf("%s:%d", ip, port), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// talk says something over a connection, half-closes it and returns all that comes.
func talk(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("after %q: %v", got, err)
	}
	return string(got)
}

func TestNames(t *testing.T) {
	d, dns, proxy := shut(t)
	if c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", dns)); err == nil {
		_ = c.Close()
		t.Error("it listens before there is a daemon")
	}
	port, other := freePort(t), freePort(t)
	s := plug(t, d, outside(fmt.Sprint(port)))
	if err := table(t, s, "Listed.test", fmt.Sprintf("%d,%d", port, other), "denied.test", fmt.Sprint(port)); err != nil {
		t.Fatal(err)
	}
	addrs := map[string]net.IP{}
	for _, name := range []string{"listed.test", "LISTED.test", "other.test"} {
		for _, network := range []string{"udp", "tcp"} {
			ips, err := lookUp(t, dns, network, name)
			if err != nil || len(ips) != 1 || ips[0].To4() == nil || ips[0].To4()[1] != 64 {
				t.Fatalf("%s by %s: %v, %v", name, network, ips, err)
			}
			if before := addrs[strings.ToLower(name)]; before != nil && !before.Equal(ips[0]) {
				t.Errorf("%s is %s and %s", name, before, ips[0])
			}
			addrs[strings.ToLower(name)] = ips[0]
		}
	}
	if addrs["listed.test"].Equal(addrs["other.test"]) {
		t.Errorf("all are %s", addrs["other.test"])
	}
	for want, c := range map[string]net.Conn{
		fmt.Sprintf("1 listed.test %d\nhello", port):  dialTo(t, addrs["listed.test"], port),
		fmt.Sprintf("1 listed.test %d\nhello", other): dialTo(t, addrs["listed.test"], other),
		fmt.Sprintf("1 other.test %d\nhello", port):   dialTo(t, addrs["other.test"], port),
		"2  0\nhello": dialTo(t, net.IPv4(127, 0, 0, 1), proxy),
	} {
		if got := talk(t, c, "hello"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for name, missing := range map[string]bool{"denied-x.test": true, "broken.test": false, "1.0.64.127.in-addr.arpa": true} {
		_, err := lookUp(t, dns, "udp", name)
		if failed, ok := errors.AsType[*net.DNSError](err); !ok || failed.IsNotFound != missing {
			t.Errorf("%s: %v", name, err)
		}
	}
	denied, err := lookUp(t, dns, "udp", "denied.test")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.DialTimeout("tcp4", fmt.Sprintf("%s:%d", denied[0], port), patience)
	if err == nil {
		_, err = c.Read(make([]byte, 1))
		_ = c.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) { // perhaps as soon as it is connected
		t.Errorf("a connection that is refused: %v", err)
	}
}

// TestTableChanges has another table come: names keep their addresses, and those that left take no connections.
func TestTableChanges(t *testing.T) {
	d, dns, _ := shut(t)
	port := freePort(t)
	s := plug(t, d, outside(fmt.Sprint(port)))
	if err := table(t, s, "a.test", fmt.Sprint(port), "b.test", fmt.Sprint(port)); err != nil {
		t.Fatal(err)
	}
	before, err := lookUp(t, dns, "udp", "a.test")
	if err != nil {
		t.Fatal(err)
	}
	c := dialTo(t, before[0], port)
	for _, wrong := range [][]string{{"a.test"}, {"a.test", "0"}, {"a.test", "80,x"}, make([]string, 2*maxNames+2)} {
		if err := table(t, s, wrong...); err == nil {
			t.Errorf("a table was taken: %.40q", wrong)
		}
	}
	if err := table(t, s, "b.test", fmt.Sprint(port)); err != nil {
		t.Fatal(err)
	}
	if c, err := net.DialTimeout("tcp4", fmt.Sprintf("%s:%d", before[0], port), patience); err == nil {
		_ = c.Close()
		t.Error("a name that left takes connections")
	}
	if got, want := talk(t, c, "stays"), fmt.Sprintf("1 a.test %d\nstays", port); got != want {
		t.Errorf("the connection from before: %q, want %q", got, want)
	}
	if err := table(t, s, "c.test", fmt.Sprint(port), "a.test", fmt.Sprint(port)); err != nil {
		t.Fatal(err)
	}
	if after, err := lookUp(t, dns, "udp", "a.test"); err != nil || !after[0].Equal(before[0]) {
		t.Errorf("it was %s and is %s, %v", before, after, err)
	}
	_ = talk(t, dialTo(t, before[0], port), "")
}

// TestDaemonsComeAndGo has connections and questions wait for a daemon; connections of the one before are reset, if they had been accepted.
func TestDaemonsComeAndGo(t *testing.T) {
	d, dns, _ := shut(t)
	port := freePort(t)
	asked := make(chan *door.Stream)
	s := plug(t, d, func(st *door.Stream) {
		asked <- st
		<-st.Silent()
	})
	if err := table(t, s, "a.test", fmt.Sprint(port)); err != nil {
		t.Fatal(err)
	}
	ips, err := lookUp(t, dns, "udp", "a.test")
	if err != nil {
		t.Fatal(err)
	}
	live := dialTo(t, ips[0], port)
	st := <-asked
	if err := st.Accept(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(live, "x"); err != nil { // which comes once the door knows that it was accepted
		t.Fatal(err)
	}
	if _, err := io.ReadFull(st, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	pending := dialTo(t, ips[0], port)
	<-asked
	s.Close()
	waiting := dialTo(t, ips[0], port)
	found := make(chan error)
	go func() {
		_, err := lookUp(t, dns, "udp", "other.test")
		found <- err
	}()
	if got, err := io.ReadAll(live); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the live connection: %q, %v", got, err)
	}
	plug(t, d, outside(fmt.Sprint(port)))
	for _, c := range []net.Conn{pending, waiting} {
		if got, want := talk(t, c, "hello"), fmt.Sprintf("1 a.test %d\nhello", port); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if err := <-found; err != nil {
		t.Errorf("the question that waited: %v", err)
	}
}

// listenAlone listens at a port that nobody has at 127.0.0.1, but for the listener itself.
func listenAlone(t *testing.T, at string) net.Listener {
	t.Helper()
	for {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		other, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", l.Addr().(*net.TCPAddr).Port))
		if err != nil && l.Addr().(*net.TCPAddr).IP.To4() != nil {
			return l
		}
		if err == nil {
			_ = other.Close()
			return l
		}
		_ = l.Close()
	}
}

// TestDial connects to ports of the sandbox's own.
func TestDial(t *testing.T) {
	d, _, _ := shut(t)
	s := plug(t, d, outside())
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		l := listenAlone(t, at)
		served := make(chan error)
		go func() {
			c, err := l.Accept()
			if err == nil {
				_, err = io.Copy(c, c)
				_ = c.Close()
			}
			served <- err
		}()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		st, _, err := s.Open(ctx, door.Ask{Kind: door.Dial, Port: l.Addr().(*net.TCPAddr).Port})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(st, "to "+at)
		_ = st.CloseWrite()
		if got, err := io.ReadAll(st); err != nil || string(got) != "to "+at {
			t.Errorf("%q, %v", got, err)
		}
		_, _ = st.Close(), l.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
	for _, ask := range []door.Ask{{Kind: door.Dial, Port: freePort(t)}, {Kind: 99}} {
		_, _, err := s.Open(t.Context(), ask)
		if refusal, ok := errors.AsType[*door.Refusal](err); !ok || refusal.Reason != door.Failed {
			t.Errorf("%+v: %v", ask, err)
		}
	}
}

// Where a sandbox has an interface the daemon says addresses, and nothing is listened on for a name.
func TestAddressesOfTheDaemonsAreTold(t *testing.T) {
	d, dns, _ := shut(t)
	plug(t, d, outside("203.0.113.1", "203.0.113.2"))
	for _, network := range []string{"udp", "tcp"} {
		ips, err := lookUp(t, dns, network, "a.test")
		if err != nil || len(ips) != 2 || ips[0].String() != "203.0.113.1" || ips[1].String() != "203.0.113.2" {
			t.Errorf("by %s: %v, %v", network, ips, err)
		}
	}
}
