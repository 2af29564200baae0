// Package vfork starts programs as syscall.ForkExec does, with a third of its system calls: in a sandbox each takes 10 to 20 µs, and more than half of all
// that a short command costs beside its own run are those of its start. Where the kernel or the processor is another, syscall.ForkExec serves.
package vfork

import "syscall"

// Program is a program to start, as the leader of a session.
type Program struct {
	Path       string
	Args, Env  []string
	Folder     string // empty: the caller's
	Files      [3]int // its input, output and errors
	Terminal   bool   // the first of Files is to be its controlling terminal
	Credential *syscall.Credential
}

// Start starts a program. An error is a syscall.Errno.
func (p Program) Start() (pid int, err error) {
	pid, able, err := p.start()
	if able {
		return pid, err
	}
	var files []uintptr
	for _, fd := range p.Files {
		files = append(files, uintptr(fd))
	}
	return syscall.ForkExec(p.Path, p.Args, &syscall.ProcAttr{
		Dir: p.Folder, Env: p.Env, Files: files, Sys: &syscall.SysProcAttr{Setsid: true, Setctty: p.Terminal, Credential: p.Credential},
	})
}
