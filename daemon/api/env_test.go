package api

import (
	"testing"

	"sandpool/scripts/testhost"
)

func TestMain(m *testing.M) {
	testhost.ClearEnv()
	m.Run()
}
