package main

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"syscall"

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
		err = killSession(leader)
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

// killSession looks again until nothing is left: a process may start another one while the rest is killed.
func killSession(leader int) error {
	for {
		members, err := membersOf(leader)
		if err != nil || len(members) == 0 {
			return err
		}
		for _, pid := range members {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
}

// membersOf returns the processes of a session that have not ended.
func membersOf(session int) ([]int, error) {
	numbers, err := processNumbers()
	if err != nil {
		return nil, err
	}
	var members []int
	for _, pid := range numbers {
		if pid == os.Getpid() {
			continue
		}
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err == nil && sessionOf(stat) == session {
			members = append(members, pid)
		}
	}
	return members, nil
}

// sessionOf returns the session of a process from its stat, 0 for one that has ended. Its name, in brackets, may hold anything.
func sessionOf(stat []byte) int {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const state, session = 0, 3
	if len(fields) <= session || bytes.ContainsAny(fields[state], "ZX") {
		return 0
	}
	id, err := strconv.Atoi(string(fields[session]))
	if err != nil {
		return 0
	}
	return id
}
