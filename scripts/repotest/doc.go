// Package repotest holds tests of the repository as a whole: which package may import which, and what lies where.
package repotest
