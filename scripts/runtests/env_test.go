package main

import (
	"os"
	"testing"

	"sandpool/scripts/testhost"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == shareFlag { // by TestRun
		os.Exit(shareHere(os.Args[2], os.Args[3:]))
	}
	testhost.ClearEnv()
	m.Run()
}
