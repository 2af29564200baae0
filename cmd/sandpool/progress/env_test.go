package progress

import (
	"testing"

	"sandpool/scripts/testhost"
)

func TestMain(m *testing.M) {
	testhost.ClearEnv()
	m.Run()
}
