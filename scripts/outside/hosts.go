package outside

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
	"registry.npmjs.org":     "198.51.100.12",
	"deb.debian.org":         "198.51.100.13",
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
