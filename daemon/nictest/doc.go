// Package nictest tests sandboxes with a network interface, against a daemon, a containerd and an outside of its own.
package nictest
