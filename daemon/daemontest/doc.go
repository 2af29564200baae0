// Package daemontest holds the tests of the whole daemon on a real containerd and a real runsc. It has no code of its own.
package daemontest
