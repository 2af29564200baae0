// Package nofile tells how many files this program could have open when it began. Go's runtime raises that for the program itself, and package syscall
// keeps to itself what it was. This package imports nothing, so that it is initialized before syscall, whose path comes later in the alphabet.
package nofile

// Limit is RLIMIT_NOFILE as the program had it; both are 0 where it is not known.
var Limit [2]uint64 // soft and hard

func init() {
	if !read(&Limit) {
		Limit = [2]uint64{}
	}
}
