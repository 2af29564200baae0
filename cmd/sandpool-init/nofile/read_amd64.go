package nofile

// read asks the kernel.
//
//go:noescape
func read(limit *[2]uint64) bool
