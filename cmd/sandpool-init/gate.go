package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"sandpool/cmd/sandpool-init/supervise"

	"golang.org/x/sys/unix"
)

// gate waits for the go-ahead and then becomes the command. runsc takes a command that ends before runsc has looked at it for one that
// never began, and loses its exit code: so no command begins before runsc has said that it did.
func gate(args []string) int {
	if len(args) < 2 || args[0] != "--" {
		return fail(exitUsage, "usage: sandpool-init exec -- CMD ARG...")
	}
	if !awaitGoAhead() {
		return exitRefused
	}
	command := args[1:]
	path, err := find(command[0])
	if err == nil {
		err = syscall.Exec(path, command, os.Environ())
	}
	return cannotRun(command[0], err)
}

// announcedGate first says the id of the process that becomes the command: runsc tells it to nobody else.
func announcedGate(args []string) int {
	if len(args) > 1 {
		fmt.Println(os.Getpid())
	}
	return gate(args)
}

// find finds a command by this program's own environment.
func find(command string) (string, error) { return supervise.Find(command, os.Environ(), "") }

// awaitGoAhead waits for one byte of input, and takes no more than that. A terminal gives it with its end-of-file character, which
// it does not echo; any other input that ends gives none.
func awaitGoAhead() bool {
	var b [1]byte
	for {
		n, err := unix.Read(0, b[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return false
		case n > 0:
			return true
		}
		_, err = unix.IoctlGetTermios(0, unix.TCGETS) // fails also on a terminal that was hung up
		return err == nil
	}
}
