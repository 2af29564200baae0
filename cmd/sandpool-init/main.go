// Command sandpool-init is process 1 of every sandbox, so that any image works as it is.
//
//	sandpool-init                            waits for SIGTERM or SIGINT
//	sandpool-init -- CMD ARG…                runs CMD as its child and ends with its exit code
//	sandpool-init await -- CMD ARG…          does so once begin has prepared the sandbox
//
// Either way it reaps the children that others left behind and passes signals on. SIGTERM ends CMD first if there is one,
// then all other processes; the init ends when the last of them has, and sets no deadline. SIGTERM or SIGINT once more
// kills them all. When CMD ends unasked, the sandbox ends at once.
//
// Beside it the same program has these uses:
//
//	sandpool-init exec -- CMD ARG…           waits for a byte of input, then becomes CMD
//	sandpool-init begin [offline | door]     writes /etc/hosts and /etc/hostname, and /etc/resolv.conf if there is no network or a
//	                                         door, lets process 1 start CMD, and waits until it has
//	sandpool-init limit NAME=SOFT[:HARD]… -- PATH ARG…
//	                                         sets limits of its own, then becomes the program at PATH with ARG…
//	sandpool-init gate -- CMD ARG…           says its process id, then does the same
//	sandpool-init signal NUMBER PID          signals the process group of that process; with 9, kills all of its session
//	sandpool-init ready                      waits until process 1 has started CMD: the sandbox runs programs
//	sandpool-init ended                      prints + and waits until CMD has ended, then prints - and the last that it wrote
//	sandpool-init file OPERATION KEY=VALUE…  reads, writes, lists or changes files; see package files
//	sandpool-init ready PORT                 waits until the sandbox's own TCP port accepts a connection
//	sandpool-init connect PORT               carries its input to a TCP port of the sandbox's own, and the answer to its output
//	sandpool-init tell                       appends a line of input to /run/sandpool/events, for programs to watch
//	sandpool-init restored ID                gives a sandbox made from a checkpoint an identity of its own, and runs
//	                                         the programs in /etc/sandpool/restored.d
//	sandpool-init plug [door]                hands its input and output to process 1, which lets the daemon supervise processes by them, or
//	                                         carry connections
//	sandpool-init spawn [--log FILE] -- CMD ARG…
//	                                         has process 1 start CMD as the caller's user, so that CMD is part of
//	                                         checkpoints, and prints its process id
//
// The program is bind-mounted into sandboxes and runs there before anything else, so it is static and imports little.
package main

import (
	"fmt"
	"os"
	"syscall"

	"sandpool/cmd/sandpool-init/files"
)

// Exit codes of the init itself, as shells have them.
const (
	exitFailure     = 1
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
		case "begin":
			return begin(args[1:])
		case "limit":
			return limit(args[1:])
		case "gate":
			return announcedGate(args[1:])
		case "signal":
			return signalGroup(args[1:])
		case "ready":
			return ready(args[1:])
		case "ended":
			return ended(args[1:])
		case "connect":
			return connect(args[1:])
		case "tell":
			return tell(args[1:])
		case "restored":
			return restored(args[1:])
		case "spawn":
			return spawn(args[1:])
		case "plug":
			return plug(args[1:])
		case "file":
			return files.Run(args[1:], os.Stdin, os.Stdout, os.Stderr)
		}
	}
	await := len(args) > 0 && args[0] == "await"
	if await {
		args = args[1:]
	}
	idle := len(args) == 0 && !await
	if !idle && (len(args) < 2 || args[0] != "--") {
		return fail(exitUsage, "usage: sandpool-init [exec -- CMD ARG... | limit NAME=SOFT[:HARD]... -- PATH ARG... | gate -- CMD ARG... | signal NUMBER PID | begin [offline | door] | ready [PORT] | ended | connect PORT | tell | restored ID | plug [door] | spawn [--log FILE] -- CMD ARG... | file OPERATION [KEY=VALUE...] | [await] -- CMD ARG...]")
	}
	// It signals every process that it can see, which outside a sandbox would be all of the machine.
	if os.Getpid() != 1 {
		return fail(exitUsage, "sandpool-init: want to be process 1 of a sandbox")
	}
	in := listen()
	if idle {
		return in.wait()
	}
	out := keepOutput() // who watches for the command's end may do so before it begins
	if await {
		if sig := in.awaitBegin(); sig != nil {
			return exitSignal + int(sig.(syscall.Signal))
		}
	}
	return in.supervise(args[1:], out)
}

func fail(code int, format string, args ...any) int {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	return code
}
