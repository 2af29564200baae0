package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"sandpool/daemon/processes"
	"sandpool/daemon/wire"
	"sandpool/runtime"
	"sandpool/scripts/testhost"
)

// TestLogsKeepSecrets runs commands, good and bad ones, with secrets in arguments and environment: no level logs them.
func TestLogsKeepSecrets(t *testing.T) {
	ts := newTestAPI(t)
	said := &testhost.Log{}
	ts.api.Log = slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	inner := ts.api.Exec
	ts.api.Exec = func(ctx context.Context, sandbox string, spec runtime.ExecSpec) (processes.Process, error) {
		if spec.Args[0] == "broken" {
			return nil, errors.New("the runtime has a fault")
		}
		return inner(ctx, sandbox, spec)
	}
	ts.listen(t)
	const rest = `, "hunter2"], "env": ["TOKEN=hunter2"]}`
	for _, command := range []string{"cat", "missing", "broken"} {
		c := ts.startExec(t, `{"args": ["`+command+`"`+rest)
		if command == "cat" { // the others are over already
			c.send(t, wire.FrameStdin)
		}
		for frame, err := wire.ReadFrame(c.in); err == nil && frame.Kind != wire.FrameExit && frame.Kind != wire.FrameError; {
			frame, err = wire.ReadFrame(c.in)
		}
	}
	for _, body := range []string{`{"args": ["a` + `\u0000"` + rest, `{"args": ["a"], "env": ["TOKEN=hunter2\u0000"]}`, `{"args": ["a"], "hunter2": 1}`} {
		got := ts.do(t, "POST", "/v1/claims/"+runningID+"/exec", body, upgradeLines()...)
		checkError(t, got, http.StatusBadRequest, "invalid_argument", "")
		if strings.Contains(body, "TOKEN") && strings.Contains(got.body, "hunter2") {
			t.Errorf("the answer tells the value of a variable: %s", got.body)
		}
	}
	ts.Stop()
	if text := said.String(); strings.Contains(text, "hunter2") || !strings.Contains(text, "the runtime has a fault") {
		t.Errorf("the log is\n%s", text)
	}
}
