package outside

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/net/dns/dnsmessage"

	"sandpool/scripts/testhost"
)

const patience = time.Minute

var world *World

func TestMain(m *testing.M) {
	testhost.ClearEnv()
	var err error
	if world, err = Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := world.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

// dial connects to a literal address in the network: Go looks up names on threads of its own.
func dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = world.Do(func() error {
		conn, err = (&net.Dialer{Timeout: patience}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

var resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
	return dial(ctx, network, Resolver)
}}

// dialName looks up the name first.
func dialName(ctx context.Context, network, address string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	found, err := resolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, err
	}
	return dial(ctx, network, net.JoinHostPort(found[0].String(), port))
}

// web is a client that trusts the world's authority.
func web(t *testing.T) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(world.CA) {
		t.Fatal("the authority's certificate is none")
	}
	transport := &http.Transport{DialContext: dialName, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func get(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v, %.200s", url, resp.Status, err, body)
	}
	return string(body)
}

func TestPages(t *testing.T) {
	client := web(t)
	for url, want := range map[string]string{
		"http://" + Page + "/a?b=c":                          "hello from " + Page + ": GET /a?b=c",
		"https://" + Alias + "/":                             "hello from " + Alias + ": GET /",
		"https://" + Page + "/redirect?to=https://" + Closed: "hello from " + Closed,
		"http://" + Six + "/":                                "hello from " + Six + ": GET /",
		"https://" + Page + "/bytes/3":                       "\x00\x00\x00",
		"https://pypi.org/simple/greeting/":                  "files.pythonhosted.org/packages/greeting-2.0.1-py3-none-any.whl#sha256=",
		"https://" + NPM + "/small-greeting":                 `"integrity":"sha512-`,
		"http://" + Debian + "/debian/dists/stable/Release":  "main/binary-",
		"https://github.com/outside/greeting.git/info/refs":  "refs/heads/",
		"https://" + NPM + "/small-greeting?write=true":      "small-greeting-3.1.0.tgz",
	} {
		if body := get(t, client, url); !strings.Contains(body, want) {
			t.Errorf("%s: %.200q, want %q", url, body, want)
		}
	}
	if n := world.Came("203.0.113.20"); n == 0 {
		t.Error("nobody came to the page that was asked for")
	}
	if n := world.Came("10.20.30.40"); n != 0 {
		t.Errorf("%d came where nobody went", n)
	}
}

// The packages are what their indexes say, and of the shape that their managers want.
func TestPackages(t *testing.T) {
	client := web(t)
	deb := get(t, client, "http://"+Debian+"/debian/pool/main/s/small-greeting/small-greeting_1.0_all.deb")
	path := filepath.Join(t.TempDir(), "small-greeting.deb")
	if err := os.WriteFile(path, []byte(deb), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "dpkg-deb", "--fsys-tarfile", path).Output()
	if err != nil || !bytes.Contains(out, []byte("good day\n")) {
		t.Errorf("dpkg-deb: %v", err)
	}
	zipped, err := gzip.NewReader(strings.NewReader(get(t, client, "https://"+NPM+"/small-greeting/-/small-greeting-3.1.0.tgz")))
	if err != nil {
		t.Fatal(err)
	}
	if head, err := tar.NewReader(zipped).Next(); err != nil || head.Name != "package/package.json" {
		t.Errorf("npm's package begins with %v, %v", head, err)
	}
}

func ask(t *testing.T, name string) ([]netip.Addr, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return resolver.LookupNetIP(ctx, "ip4", name)
}

func TestNames(t *testing.T) {
	first, second := netip.MustParseAddr("203.0.113.90"), netip.MustParseAddr("127.0.0.1")
	held := make(chan struct{})
	names := world.Names
	names.Set("rebound.example.com", Record{Addresses: []netip.Addr{first}, Next: []netip.Addr{second}})
	names.Set("broken.example.com", Record{Code: dnsmessage.RCodeServerFailure})
	names.Set("long.example.com", Record{Addresses: []netip.Addr{first}, Cut: true})
	names.Set("held.example.com", Record{Addresses: []netip.Addr{first}, Hold: held})
	for _, test := range []struct {
		name string
		want netip.Addr
	}{
		{"rebound.example.com", first}, {"rebound.example.com", second}, {"rebound.example.com", second}, {"long.example.com", first},
		{Alias, netip.MustParseAddr(hosts[Page])}, {"PyPI.org", netip.MustParseAddr(hosts["pypi.org"])},
	} {
		if got, err := ask(t, test.name); err != nil || len(got) != 1 || got[0] != test.want {
			t.Errorf("%s is %v, %v, want %s", test.name, got, err, test.want)
		}
	}
	for name, gone := range map[string]bool{"nobody.example.com": true, "broken.example.com": false} {
		_, err := ask(t, name)
		if failure, ok := errors.AsType[*net.DNSError](err); !ok || failure.IsNotFound != gone {
			t.Errorf("%s: %v, want one that is not found: %v", name, err, gone)
		}
	}
	if names.Asked("nobody.example.com") == 0 {
		t.Error("questions are not counted")
	}
	done := make(chan error, 1)
	go func() {
		_, err := ask(t, "held.example.com")
		done <- err
	}()
	for names.Asked("held.example.com") == 0 {
		if _, err := ask(t, Page); err != nil { // others are answered meanwhile
			t.Fatal(err)
		}
	}
	select {
	case err := <-done:
		t.Errorf("an answer that is held back has come: %v", err)
	default:
		close(held)
		if err := <-done; err != nil {
			t.Errorf("an answer that was held back: %v", err)
		}
	}
}

func TestStreams(t *testing.T) {
	speak := func(name string, port int, say, want string) {
		conn, err := dialName(t.Context(), "tcp", fmt.Sprintf("%s:%d", name, port))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // all was read
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, err = io.WriteString(conn, say)
		_ = conn.(*net.TCPConn).CloseWrite()
		heard, readErr := io.ReadAll(conn)
		if err = errors.Join(err, readErr); err != nil || string(heard) != want {
			t.Errorf("%s says %q, %v, want %q", name, heard, err, want)
		}
	}
	speak(Echo, EchoPort, "said\n", "said\n")
	speak(Mail, MailPort, "HELO\r\n", "220 mail.example.com\r\n250 6 bytes\r\n")

	conn, err := dialName(t.Context(), "tcp", fmt.Sprintf("%s:%d", Shell, ShellPort))
	if err != nil {
		t.Fatal(err)
	}
	secure, channels, requests, err := ssh.NewClientConn(conn, Shell, &ssh.ClientConfig{HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(secure, channels, requests)
	defer client.Close() //nolint:errcheck // all was read
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := session.Output("hello"); err != nil || string(out) != "good day\n" {
		t.Errorf("ssh says %q, %v", out, err)
	}
}

// Nothing answers who connects to the silent port, neither with a refusal.
func TestSilence(t *testing.T) {
	err := world.Do(func() error {
		_, err := (&net.Dialer{Timeout: 200 * time.Millisecond}).DialContext(t.Context(), "tcp", fmt.Sprintf("%s:%d", hosts[Silent], SilentPort))
		return err
	})
	if failure, ok := errors.AsType[net.Error](err); !ok || !failure.Timeout() {
		t.Errorf("connecting to silence: %v, want a time-out", err)
	}
}

// A question that is never answered does not hold the end of a world up.
func TestEndWithAQuestion(t *testing.T) {
	own, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	const name = "forever.example.com"
	own.Names.Set(name, Record{Hold: make(chan struct{})})
	question := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name + "."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	packet, err := question.Pack()
	if err != nil {
		t.Fatal(err)
	}
	err = own.Do(func() error {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "udp", Resolver)
		if err == nil {
			_, err = conn.Write(packet)
			err = errors.Join(err, conn.Close())
		}
		return err
	})
	for err == nil && own.Names.Asked(name) == 0 {
		runtime.Gosched()
	}
	if err := errors.Join(err, own.Close()); err != nil {
		t.Error(err)
	}
}

// What a world that was killed has left goes with the next one, and what a living one has stays.
func TestStaleFolders(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // another test's world may be about to remove what is stale
	folder := func() string {
		t.Helper()
		dir, lock, err := makeFolder()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = lock.Close() })
		return dir
	}
	living := folder()
	stale := filepath.Join(os.TempDir(), folderPrefix+"stale")
	if err := os.Mkdir(stale, 0o700); err != nil {
		t.Fatal(err)
	}
	folder()
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stale folder: %v", err)
	}
	if _, err := os.Stat(living); err != nil {
		t.Errorf("the folder of a world that lives: %v", err)
	}
}
