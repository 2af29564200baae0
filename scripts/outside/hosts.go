package outside

import (
	"slices"
	"strings"

	"sandpool/runtime/egress"
)

// The registries of the world, under the names by which the preset of their rules has them.
var (
	NPM    = registry("npmjs.org")
	Debian = registry("debian.org")
)

// registry is the first name of a domain that sandboxes may install from.
func registry(domain string) string {
	all := egress.Preset(egress.PackageRegistries)
	return all[slices.IndexFunc(all, func(name string) bool { return strings.HasSuffix(name, domain) })]
}

// Names of servers that are nobody's in the world.
const (
	Page   = "www.example.com"   // HTTP and HTTPS
	Alias  = "alias.example.com" // another name of Page
	Echo   = "echo.example.com"  // says what it is told, by EchoPort
	Mail   = "mail.example.com"  // speaks first, by MailPort
	Shell  = "ssh.example.com"   // SSH
	Base   = "db.example.com"    // speaks PostgreSQL's protocol
	Six    = "six.example.com"   // a Page that has no address but one of IPv6
	Silent = "silent.example.com"
	Closed = "closed.example.com" // has no servers but those of every address
)

// Ports of the servers beside those of the web.
const (
	EchoPort   = 7
	ShellPort  = 22
	MailPort   = 25
	BasePort   = 5432
	SilentPort = 4444 // of Silent, where connections are never accepted
)

// hosts are the addresses of names that have one.
var hosts = map[string]string{
	"pypi.org":               "198.51.100.10",
	"files.pythonhosted.org": "198.51.100.11",
	NPM:                      "198.51.100.12",
	Debian:                   "198.51.100.13",
	"github.com":             "198.51.100.14",
	Page:                     "203.0.113.20",
	"other.example.com":      "203.0.113.21",
	Echo:                     "203.0.113.22",
	Mail:                     "203.0.113.23",
	Shell:                    "203.0.113.24",
	Base:                     "203.0.113.25",
	Six:                      "2001:db8::20",
	Silent:                   "203.0.113.26",
	Closed:                   "203.0.113.27",
}
