package configs

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"sandpool/runtime/egress"
	"sandpool/runtime/hostpath"
)

// Secret is a header that requests to some names are sent with, and that sandboxes never have. What it is made of stays in a file.
type Secret struct {
	Name       string   `toml:"name"`
	Hosts      []string `toml:"hosts"`      // names of servers, in full
	Header     string   `toml:"header"`     // either this and Value,
	Value      string   `toml:"value"`      // with Placeholder for the secret
	User       string   `toml:"user"`       // or this, of basic authentication
	File       string   `toml:"file"`       // absolute path of what has the secret; either this
	Credential string   `toml:"credential"` // or the name of one of the service manager's
	CAFile     string   `toml:"ca_file"`    // absolute path of certificates in PEM that servers are believed by; empty: those of the host
}

// Placeholder stands for the secret in the value of a header.
const Placeholder = "{secret}"

// defaultSecret also fills the keys that a file's secrets leave out.
var defaultSecret = Secret{Value: Placeholder}

const (
	// maxSecret and maxAuthorities bound the files, in bytes.
	maxSecret      = 8 << 10
	maxAuthorities = 1 << 20
	// maxHosts is how many hosts a secret may have.
	maxHosts = 64
)

// fixedHeaders are no secrets: HTTP itself goes by them.
var fixedHeaders = []string{
	"Host", "Connection", "Content-Length", "Content-Encoding", "Content-Type", "Expect", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade",
}

func (s Secret) check(key string, found *faults) {
	s.checkBinding(key, found)
	switch {
	case (s.File == "") == (s.Credential == ""):
		found.add(join(key, "file"), "want either this or credential")
	case s.File != "":
		found.absolute(join(key, "file"), s.File)
	case filepath.Base(s.Credential) != s.Credential || strings.HasPrefix(s.Credential, "."):
		found.add(join(key, "credential"), "%q: want the name of a credential of the service, which is no path", s.Credential)
	}
	if s.CAFile != "" {
		found.absolute(join(key, "ca_file"), s.CAFile)
	}
}

// checkBinding looks at all but where the secret is.
func (s Secret) checkBinding(key string, found *faults) {
	if !namePattern.MatchString(s.Name) {
		found.add(join(key, "name"), "%q: %s", s.Name, nameRule)
	}
	if len(s.Hosts) == 0 || len(s.Hosts) > maxHosts {
		found.add(join(key, "hosts"), "%d of them: want 1 to %d names of servers", len(s.Hosts), maxHosts)
	}
	for i, host := range s.Hosts {
		if _, err := egress.ParseHost(host); err != nil {
			found.add(fmt.Sprintf("%s[%d]", join(key, "hosts"), i), "%v", err)
		}
	}
	s.checkHeader(key, found)
}

func (s Secret) checkHeader(key string, found *faults) {
	switch {
	case (s.Header == "") == (s.User == ""):
		found.add(join(key, "header"), "want either this or user")
	case s.User != "" && (s.Value != Placeholder || strings.Contains(s.User, ":") || !httpguts.ValidHeaderFieldValue(s.User)):
		found.add(join(key, "user"), "want a name without a colon, and no value beside it")
	case s.Header != "" && (!httpguts.ValidHeaderFieldName(s.Header) || slices.Contains(fixedHeaders, http.CanonicalHeaderKey(s.Header))):
		found.add(join(key, "header"), "%q: want the name of a header, but none by which HTTP itself goes", s.Header)
	case strings.Count(s.Value, Placeholder) != 1 || !httpguts.ValidHeaderFieldValue(s.Value):
		found.add(join(key, "value"), `want a text in one line with %s once, as in "Bearer %s"`, Placeholder, Placeholder)
	}
}

// at is where the secret is; empty for a credential of a service that this process is not.
func (s Secret) at() string {
	if s.File != "" {
		return s.File
	}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		return filepath.Join(dir, s.Credential)
	}
	return ""
}

// Read returns the header that requests are sent with and its value, and who may sign for the servers: nil for those whom the host believes. No error
// tells the secret.
func (s Secret) Read() (header, value string, roots *x509.CertPool, err error) {
	at := s.at()
	if at == "" {
		return "", "", nil, fmt.Errorf("credential %q: the service has none: give it by LoadCredential=", s.Credential)
	}
	secret, err := readSecret(at)
	if err != nil {
		return "", "", nil, err
	}
	if roots, err = s.roots(); err != nil {
		return "", "", nil, err
	}
	return s.header(), s.with(secret), roots, nil
}

// with is what the header is with a secret.
func (s Secret) with(secret string) string {
	if s.User != "" {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(s.User+":"+secret))
	}
	return strings.Replace(s.Value, Placeholder, secret, 1)
}

// header is that which requests are sent with, in its canonical form.
func (s Secret) header() string {
	if s.User != "" {
		return "Authorization"
	}
	return http.CanonicalHeaderKey(s.Header)
}

func (s Secret) roots() (*x509.CertPool, error) {
	if s.CAFile == "" {
		return nil, nil //nolint:nilnil // whom the host believes
	}
	data, err := hostpath.ReadFile(s.CAFile, maxAuthorities)
	if err != nil {
		return nil, err
	}
	roots, err := ParseAuthorities(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.CAFile, err)
	}
	return roots, nil
}

// ParseAuthorities reads certificates in PEM of those who may sign for servers.
func ParseAuthorities(pem []byte) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in PEM is in it")
	}
	return roots, nil
}

// readSecret reads one line.
func readSecret(path string) (string, error) {
	if err := errors.Join(hostpath.Check(path), checkPrivate(path)); err != nil {
		return "", err
	}
	data, err := hostpath.ReadFile(path, maxSecret)
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(data), "\r\n")
	if !isSecret(text) {
		return "", fmt.Errorf("%s: %s", path, wantSecret)
	}
	return text, nil
}

const wantSecret = "want the secret in one line, without spaces around it and without control characters"

func isSecret(text string) bool {
	return text != "" && len(text) <= maxSecret && httpguts.ValidHeaderFieldValue(text) && strings.TrimSpace(text) == text
}

// checkPrivate refuses a file that others may read.
func checkPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s can be read by others (mode %04o): chmod go= %s", path, mode, path)
	}
	return nil
}

func (c Config) checkSecrets(found *faults) {
	for i, s := range c.Secrets {
		key := fmt.Sprintf("secrets[%d]", i)
		s.check(key, found)
		if slices.ContainsFunc(c.Secrets[:i], func(other Secret) bool { return other.Name == s.Name }) {
			found.add(join(key, "name"), "%q: named twice", s.Name)
		}
	}
}

// checkSecretsOf looks at the secrets that a template may use.
func (c Config) checkSecretsOf(key string, n TemplateNetwork, found *faults) {
	rules, err := egress.Compile(n.Layers())
	if err != nil || n.Mode == egress.None {
		return // which is told elsewhere
	}
	var used []Secret
	for i, name := range n.Secrets {
		at := fmt.Sprintf("%s[%d]", join(key, "secrets"), i)
		which := slices.IndexFunc(c.Secrets, func(s Secret) bool { return s.Name == name })
		if which < 0 {
			found.add(at, "%q: there is no such [[secrets]]", name)
			continue
		}
		s := c.Secrets[which]
		if !slices.ContainsFunc(s.HostNames(), func(host string) bool { return rules.Name(host, 443).Allowed }) {
			found.add(at, "%q: no rule of the template allows port 443 of any of its hosts", name)
		}
		for _, other := range used {
			if host := s.disputes(other); host != "" {
				found.add(at, "%q and %q cannot both be used for %s: they have the same header, or other authorities", name, other.Name, host)
			}
		}
		used = append(used, s)
	}
}

// HostNames are the hosts as rules have them.
func (s Secret) HostNames() []string {
	var names []string
	for _, host := range s.Hosts {
		if name, err := egress.ParseHost(host); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// disputes is a host for which a request cannot be sent with both secrets; empty if there is none.
func (s Secret) disputes(other Secret) string {
	if !egress.SameHeader(s.header(), other.header()) && s.CAFile == other.CAFile {
		return ""
	}
	theirs := other.HostNames()
	for _, host := range s.HostNames() {
		if slices.Contains(theirs, host) {
			return host
		}
	}
	return ""
}
