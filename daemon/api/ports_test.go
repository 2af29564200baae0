package api

import (
	"net/http"
	"testing"

	"sandpool/daemon/wire"
)

func TestPort(t *testing.T) {
	ts := startServer(t)
	c := ts.startStream(t, "ports/7", "")
	c.send(t, wire.FrameStdin, []byte("hello")...)
	if f, err := wire.ReadFrame(c.in); err != nil || f.Kind != wire.FrameStdout || string(f.Payload) != "hello" {
		t.Fatalf("frame %+v, %v; want the echo", f, err)
	}
	c.send(t, wire.FrameStdin)
	c.wantEnd(t, wire.FrameExit)
	wantFrameError(t, ts.startStream(t, "ports/8", ""), "conflict", "nobody listens")

	const claims = "/v1/claims/"
	for _, refused := range []struct {
		path, code, message string
		status              int
		header              []string
	}{
		{claims + runningID + "/ports/0", "invalid_argument", `port: "0": want 1 to 65535`, http.StatusBadRequest, upgradeLines()},
		{claims + runningID + "/ports/65536", "invalid_argument", "want 1 to 65535", http.StatusBadRequest, upgradeLines()},
		{claims + runningID + "/ports/7", "upgrade_required", "", http.StatusUpgradeRequired, nil},
		{claims + deadID + "/ports/7", "conflict", "is dead: its init was killed", http.StatusConflict, upgradeLines()},
		{claims + missingID + "/ports/7", "not_found", "does not exist", http.StatusNotFound, upgradeLines()},
	} {
		checkError(t, ts.do(t, "POST", refused.path, "", refused.header...), refused.status, refused.code, refused.message)
	}
}
