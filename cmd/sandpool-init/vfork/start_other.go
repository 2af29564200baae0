//go:build !amd64

package vfork

func (Program) start() (pid int, able bool, err error) { return 0, false, nil }
