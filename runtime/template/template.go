// Package template says what sandboxes are made from, and makes the OCI spec that a template and its image ask for.
package template

import "time"

// InitPath is where a sandbox finds its init.
const InitPath = "/.sandpool/init"

// What a template's sandboxes have of a network where runsc gives them none.
const (
	NoNetwork = "none"
	Door      = "door" // names that process 1 answers for, and connections that it carries to the daemon
	NIC       = "nic"  // an interface, and a door for names
)

// Template says what a sandbox is made from.
type Template struct {
	Image        string   // a reference, or file:///absolute/path of an archive to import
	Command      []string // run as the init's child; empty: the init waits
	ImageCommand bool     // run the image's own command instead
	Env          []string // KEY=VALUE, added to the image's
	User         string   // name or number in the image, or either with :group; empty: the image's
	Cwd          string   // absolute path in the sandbox; empty: the image's
	Platform     string   // of gVisor; empty: the engine's
	Network      string   // NoNetwork, Door or NIC, where runsc gives none; empty: none
	AllowSetuid  bool     // programs with the set-uid or set-gid bit run with the rights of their owner
	Limits       Limits
	Mounts       []Mount

	Prewarm        []string // command lines for /bin/sh, run in each sandbox before it counts as ready
	PrewarmTimeout time.Duration
	ReadyCommand   string // command line that must succeed, if not empty
	ReadyPort      int    // TCP port that must accept a connection inside the sandbox, if not 0
	ReadyTimeout   time.Duration
}

// Begin is what the init is told of the network where runsc gives none.
func (t Template) Begin() string {
	if t.Network == Door || t.Network == NIC {
		return "door"
	}
	return "offline"
}
