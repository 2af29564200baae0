// Package systemdtest holds the tests of the units: they run under a real systemd, with a real containerd and runsc.
package systemdtest
