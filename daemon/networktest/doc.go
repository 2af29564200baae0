// Package networktest holds the tests of sandboxes that talk to an outside of the tests' own, by a real daemon, and what such tests begin with.
package networktest
