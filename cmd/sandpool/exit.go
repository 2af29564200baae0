package main

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// Exit codes, as exitHelp promises them.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitPoolEmpty   = 4
	exitUnreachable = 5
	exitQuota       = 6

	exitOwnUsage       = 120
	exitOwnNotFound    = 121
	exitOwnPoolEmpty   = 122
	exitOwnUnreachable = 123
	exitOwnError       = 125
	exitNotRunnable    = 126
	exitNoCommand      = 127
)

const exitHelp = `Exit codes:
  0  success
  1  any other error
  2  a command line that is not understood, or a value that cannot be
  3  no such claim, checkpoint, template, pool, process or file
  4  no sandbox available
  5  the daemon cannot be reached, or cannot serve now
  6  the user has as many claims or connections as it may have

run, exec, shell and attach exit with the code of their command, or with one of their own:
  120  a command line that is not understood, or a value that cannot be
  121  no such claim or process, or a claim that is dead or has ended
  122  no sandbox available, or as many claims or connections as the user may have
  123  the daemon cannot be reached, or cannot serve now
  124  the command was killed because it took longer than its --timeout
  125  any other error of their own
  126  the command cannot be run
  127  there is no such command

With --json an error is one line of JSON on standard error, with its code, its message and the exit code.
`

// exits are the exit codes of what the daemon answers.
var exits = map[string]int{
	wire.CodeInvalidArgument: exitUsage, wire.CodeNotFound: exitNotFound, wire.CodeFileNotFound: exitNotFound, wire.CodePoolEmpty: exitPoolEmpty, wire.CodeUnavailable: exitUnreachable,
	wire.CodeQuota: exitQuota, wire.CodeTooMany: exitQuota,
}

// ownExits are those of the commands that exit with the code of another one.
var ownExits = map[int]int{
	exitError: exitOwnError, exitUsage: exitOwnUsage, exitNotFound: exitOwnNotFound, exitPoolEmpty: exitOwnPoolEmpty, exitUnreachable: exitOwnUnreachable, exitQuota: exitOwnPoolEmpty,
}

// running are those commands.
var running = []string{"sandpool run", "sandpool exec", "sandpool shell", "sandpool attach"}

// exitStatus is the exit code of a command in a sandbox. It is no error of ours, so nothing is printed.
type exitStatus int

func (s exitStatus) Error() string { return "exit status " + strconv.Itoa(int(s)) }

// usageError is a command line that was understood and cannot be.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// exitCode returns the exit code for an error of a command, which is named with those that it is a part of.
func (a *app) exitCode(command string, err error) int {
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	answer, answered := errors.AsType[*wire.Error](err)
	code := a.plainExit(err)
	switch {
	case !slices.Contains(running, command):
		return code
	case answered && answer.Code == wire.CodeCommandNotFound:
		return exitNoCommand
	case answered && answer.Code == wire.CodeCommandNotRunnable:
		return exitNotRunnable
	case answered && answer.Code == wire.CodeConflict:
		return exitOwnNotFound
	default:
		return ownExits[code]
	}
}

// plainExit is the exit code for an error of a command that runs no other.
func (a *app) plainExit(err error) int {
	if _, wrong := errors.AsType[usageError](err); wrong || !a.started {
		return exitUsage
	}
	if _, ok := errors.AsType[*client.UnreachableError](err); ok {
		return exitUnreachable
	}
	if answer, ok := errors.AsType[*wire.Error](err); ok {
		return cmp.Or(exits[answer.Code], exitError)
	}
	return exitError
}

// failure is an error as JSON.
type failure struct {
	Status  int    `json:"status,omitempty"` // the HTTP status of the daemon's answer
	Code    string `json:"code"`             // the daemon's, or one of usage, unreachable and error
	Message string `json:"message"`
	Exit    int    `json:"exit_code"`
}

func failureOf(err error, exit int) failure {
	f := failure{Code: "error", Message: wire.Printable(strings.ReplaceAll(err.Error(), "\n", "; ")), Exit: exit}
	if answer, ok := errors.AsType[*wire.Error](err); ok {
		f.Status, f.Code = answer.Status, answer.Code
	} else if _, ok := errors.AsType[*client.UnreachableError](err); ok {
		f.Code = "unreachable"
	} else if exit == exitUsage || exit == exitOwnUsage {
		f.Code = "usage"
	}
	return f
}
