package main

import (
	"errors"
	"strconv"
	"syscall"

	"sandpool/cmd/sandpool-init/procs"

	"golang.org/x/sys/unix"
)

// signalGroup signals the process group that a process leads. It has to be the leader of a session too: SIGKILL goes to all
// processes of that, until there is none. That there is none to signal is no failure.
func signalGroup(args []string) int {
	number, leader, err := numbersOf(args)
	if err != nil {
		return fail(exitUsage, "usage: sandpool-init signal NUMBER PID")
	}
	if number == int(unix.SIGKILL) {
		err = procs.KillSession(leader)
	} else {
		err = unix.Kill(-leader, syscall.Signal(number))
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fail(exitFailure, "sandpool-init: signal the processes of %d: %v", leader, err)
	}
	return 0
}

func numbersOf(args []string) (number, leader int, err error) {
	if len(args) != 2 {
		return 0, 0, errors.New("want two numbers")
	}
	number, err = strconv.Atoi(args[0])
	leader, errLeader := strconv.Atoi(args[1])
	if number < 1 || leader < 2 { // process 1 is the init, and its session is not to be killed
		err = errors.New("out of range")
	}
	return number, leader, errors.Join(err, errLeader)
}
