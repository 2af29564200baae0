// Command sandpool-init is process 1 of every sandbox, so that any image works as it is.
//
//	sandpool-init               waits for SIGTERM or SIGINT
//	sandpool-init -- CMD ARG…   runs CMD as its child and ends with its exit code
//	sandpool-init exec -- CMD   waits for a byte of input, then becomes CMD
//	sandpool-init ready         does nothing: that it ran shows that the sandbox runs programs
//	sandpool-init ready PORT    waits until the sandbox's own TCP port accepts a connection
//
// As process 1 it reaps the children that others left behind and passes signals on. It is bind-mounted into sandboxes and
// runs there before anything else, so it is static and imports little.
package main

import (
	"fmt"
	"os"
)

// Exit codes of the init itself, as shells have them.
const (
	exitUsage       = 2
	exitRefused     = 125
	exitNotRunnable = 126
	exitNotFound    = 127
	exitSignal      = 128 // plus the signal's number
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "exec":
			return gate(args[1:])
		case "ready":
			return ready(args[1:])
		}
	}
	idle := len(args) == 0
	if !idle && (len(args) == 1 || args[0] != "--") {
		return fail(exitUsage, "usage: sandpool-init [exec -- CMD ARG... | ready [PORT] | -- CMD ARG...]")
	}
	// It signals every process that it can see, which outside a sandbox would be all of the machine.
	if os.Getpid() != 1 {
		return fail(exitUsage, "sandpool-init: want to be process 1 of a sandbox")
	}
	in := listen()
	if idle {
		return in.wait()
	}
	return in.supervise(args[1:])
}

func fail(code int, format string, args ...any) int {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	return code
}
