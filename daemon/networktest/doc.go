// Package networktest holds the tests of sandboxes that talk to an outside of the tests' own, by a real daemon. It has no code of its own.
package networktest
