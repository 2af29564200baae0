package main

import (
	"errors"
	"strconv"

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
	exitExec        = 125
	exitNotRunnable = 126
	exitNoCommand   = 127
)

const exitHelp = `Exit codes:
  0  success
  1  any other error
  2  a command line that is not understood
  3  no such claim, checkpoint or template
  4  no sandbox available
  5  the daemon cannot be reached
  6  the user has as many claims as it may have
exec exits with the code of its command, and with 125 for any error of its own.
`

// Codes of wire.Error that have an exit code of their own.
const (
	codeNotFound  = "not_found"
	codePoolEmpty = "pool_empty"
	codeQuota     = "quota"

	codeCommandNotFound    = "command_not_found"
	codeCommandNotRunnable = "command_not_runnable"
)

// exitStatus is the exit code of a command in a sandbox. It is no error of ours, so nothing is printed.
type exitStatus int

func (s exitStatus) Error() string { return "exit status " + strconv.Itoa(int(s)) }

// exitCode returns the exit code for an error of a command, which is named with those that it is a part of.
func (a *app) exitCode(command string, err error) int {
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	answer, _ := errors.AsType[*wire.Error](err)
	if command == "sandpool exec" || command == "sandpool shell" {
		return execExit(answer)
	}
	if !a.started {
		return exitUsage
	}
	if _, ok := errors.AsType[*client.UnreachableError](err); ok {
		return exitUnreachable
	}
	switch {
	case answer != nil && answer.Code == codeNotFound:
		return exitNotFound
	case answer != nil && answer.Code == codePoolEmpty:
		return exitPoolEmpty
	case answer != nil && answer.Code == codeQuota:
		return exitQuota
	default:
		return exitError
	}
}

// execExit is the exit code of an exec whose command did not begin, as shells have it.
func execExit(answer *wire.Error) int {
	switch {
	case answer != nil && answer.Code == codeCommandNotFound:
		return exitNoCommand
	case answer != nil && answer.Code == codeCommandNotRunnable:
		return exitNotRunnable
	default:
		return exitExec
	}
}
