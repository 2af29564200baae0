package wire

import "time"

// NetworkResult is what became of something that a sandbox asked of the network.
type NetworkResult string

// What can become of it.
const (
	NetworkDenied NetworkResult = "denied" // by the rules or a bound
	NetworkFailed NetworkResult = "failed" // it was allowed, but the name was not found or nobody answered
	NetworkOpened NetworkResult = "opened" // a connection, which goes on
	NetworkClosed NetworkResult = "closed" // a connection that was opened; bytes and duration are known
)

// NetworkVia is how a sandbox asked.
type NetworkVia string

// The ways to ask.
const (
	ViaName    NetworkVia = "name"    // a connection to the name's own address in the sandbox
	ViaLookup  NetworkVia = "lookup"  // the name alone was asked for
	ViaConnect NetworkVia = "connect" // HTTP CONNECT to the proxy
	ViaHTTP    NetworkVia = "http"    // a plain HTTP request to the proxy
	ViaSOCKS   NetworkVia = "socks"   // SOCKS5 to the proxy
)

// NetworkEntry is one line of what a sandbox did in the network.
type NetworkEntry struct {
	Number     uint64        `json:"number"` // they grow by one; ?since=NUMBER goes on behind it
	Time       time.Time     `json:"time"`
	Connection uint64        `json:"connection,omitempty"` // the same in the entries of one connection
	Result     NetworkResult `json:"result"`
	Via        NetworkVia    `json:"via"`
	Name       string        `json:"name"` // or the address that was asked for
	Port       int           `json:"port,omitempty"`
	Address    string        `json:"address,omitempty"` // ADDRESS:PORT that was connected to, or would have been
	Rule       string        `json:"rule,omitempty"`    // that decided, as it was written
	Kind       string        `json:"kind,omitempty"`    // of what decided: name, address, special, default, learn, sni, secret or limit
	Message    string        `json:"message,omitempty"` // for people
	SentBytes  int64         `json:"sent_bytes,omitempty"`
	GotBytes   int64         `json:"got_bytes,omitempty"`
	DurationMS float64       `json:"duration_ms,omitempty"`
	Secrets    []string      `json:"secrets,omitempty"` // names of those that its requests are sent with
}

// NetworkAddress is an address that a name has now, and what the rules say of it.
type NetworkAddress struct {
	Address string `json:"address"`
	Allowed bool   `json:"allowed"`
	Rule    string `json:"rule,omitempty"`
	Kind    string `json:"kind,omitempty"`
	Message string `json:"message,omitempty"`
}

// NetworkWhy says what would become of a connection, and what became of the last one.
type NetworkWhy struct {
	Name      string           `json:"name"`
	Port      int              `json:"port"`
	Allowed   bool             `json:"allowed"`
	Rule      string           `json:"rule,omitempty"`
	Kind      string           `json:"kind,omitempty"`
	Message   string           `json:"message"`
	Addresses []NetworkAddress `json:"addresses,omitempty"` // none if the name is denied or not found
	Last      *NetworkEntry    `json:"last,omitempty"`
}
