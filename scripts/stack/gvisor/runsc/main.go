// Command runsc is gVisor's, whose processes collect no garbage while nothing happens in them.
package main

import (
	"gvisor.dev/gvisor/runsc/cli/maincli"
	"gvisor.dev/gvisor/runsc/version"

	"sandpool/scripts/stack/gvisor/rest"
)

var _ = version.Version() // it has to be linked in to be set by -X

func main() {
	rest.Begin()
	maincli.Main()
}
