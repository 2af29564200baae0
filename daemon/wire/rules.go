package wire

// NetworkRules are a claim's own: they narrow what its template allows. The zero value leaves all of that.
type NetworkRules struct {
	// Mode is "none" for no network at all, "door" to be refused where there is none, or empty.
	Mode string `json:"mode,omitempty"`
	// Preset names lists of rules that are added to Allow.
	Preset []string `json:"preset,omitempty"`
	// Allow has the rules of which one has to allow a connection, besides the template's. Left out, without a preset, only the template's count; an
	// empty list allows nothing.
	Allow []string `json:"allow,omitzero"`
	// Deny has the rules of which none may be about a connection.
	Deny []string `json:"deny,omitempty"`
	// Secrets has the names of those that requests are sent with, of those that the template allows. Left out, it is all of those; an empty list has none.
	Secrets []string `json:"secrets,omitzero"`
	// MaxConnections is how many may be open at once; 0: as many as the template allows.
	MaxConnections int `json:"max_connections,omitempty"`
	// Rate is how many bytes a second pass in each direction; 0: as many as the template allows.
	Rate int `json:"rate,omitempty"`
	// MaxBytes is how many bytes pass in both directions together; 0: as many as the template allows.
	MaxBytes int `json:"max_bytes,omitempty"`
}

// Network is what a claim may connect to.
type Network struct {
	// Mode is "none", "door" or "nic".
	Mode string `json:"mode"`
	// Layers are the rules, of which each layer has to allow a connection: the template's, those of a checkpoint, the claim's own.
	Layers []NetworkLayer `json:"layers"`
	// Names are those that can be reached and are written out in a rule.
	Names []NetworkName `json:"names"`
	// Learned are rules that allow what was connected to, if a layer learns.
	Learned []string `json:"learned,omitempty"`
	// MaxConnections is how many may be open at once; 0: the daemon's bound.
	MaxConnections int `json:"max_connections,omitempty"`
	// Rate is how many bytes a second pass in each direction; 0: any number.
	Rate int `json:"rate,omitempty"`
	// MaxBytes is how many bytes pass in both directions together; 0: any number.
	MaxBytes int `json:"max_bytes,omitempty"`
	// UsedBytes are those that have passed since the claim, or since the daemon was started.
	UsedBytes int64 `json:"used_bytes,omitempty"`
	// Secrets are those that requests are sent with.
	Secrets []NetworkSecret `json:"secrets,omitempty"`
}

// NetworkSecret is what requests by HTTP to some names are sent with, as HTTPS.
type NetworkSecret struct {
	Name  string   `json:"name"`
	Hosts []string `json:"hosts"`          // none if the daemon has no such secret of a template any more
	Own   bool     `json:"own,omitempty"`  // the claim's own: see BoundSecret
	Lost  bool     `json:"lost,omitempty"` // what it was made of is not there any more: requests to its hosts are refused until it is given anew
}

// BoundSecret is a secret of a claim's own: requests by HTTP to its hosts are sent with it, as HTTPS. It is in the memory of the daemon only.
type BoundSecret struct {
	Name  string   `json:"name"`
	Hosts []string `json:"hosts"` // names of servers, in full
	// Header is what requests are sent with, and Value what that has, with "{secret}" once, which is also what it is if left out.
	Header string `json:"header,omitempty"`
	Value  string `json:"value,omitempty"`
	// User is the name of basic authentication, instead of a header.
	User   string `json:"user,omitempty"`
	Secret string `json:"secret"`
	// CA has certificates in PEM by which servers are believed; empty: those of the host.
	CA string `json:"ca,omitempty"`
}

// String is for logs.
func (s BoundSecret) String() string { return s.Name }

// GoString is for logs.
func (s BoundSecret) GoString() string { return s.Name }

// BoundSecrets is the body of PUT /v1/claims/{id}/network/secrets: a claim's own, in place of those that it has.
type BoundSecrets struct {
	BoundSecrets []BoundSecret `json:"bound_secrets"`
}

// NetworkLayer is one layer of rules.
type NetworkLayer struct {
	Of    string `json:"of"` // template, checkpoint or claim
	Learn bool   `json:"learn,omitempty"`
	NetworkRules
}

// NetworkName is a name that can be reached.
type NetworkName struct {
	Name  string `json:"name"`
	Ports []int  `json:"ports"`
}
