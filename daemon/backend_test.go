package daemon

import (
	"context"
	"log/slog"
	"slices"
	"testing"

	"sandpool/daemon/doors"
	"sandpool/pool"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// notedServer notes what is done to sandboxes.
type notedServer struct{ did []string }

func (s *notedServer) Set(_ string, l egress.Layers) error {
	s.did = append(s.did, "set "+l.String())
	return nil
}

func (*notedServer) Serve(context.Context, string, *door.Session) error { return nil }
func (*notedServer) Forget(string)                                      {}

// TestBytesOfAClaim has the bytes of a sandbox that is handed out count anew before its claim's bound holds, which its pool's would break else, and
// count on while the claim lives.
func TestBytesOfAClaim(t *testing.T) {
	s := &notedServer{}
	keeper := doors.New(doors.Options{Server: s, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(keeper.Close)
	b := backend{doors: keeper, recount: func(string) { s.did = append(s.did, "recount") }}
	warm := egress.Layers{{Mode: egress.Door}}.String()
	claimed := egress.Layers{{Mode: egress.Door}, {MaxBytes: 1}}.String()
	for _, labels := range []map[string]string{
		{pool.LabelNetwork: warm},
		{pool.LabelNetwork: claimed, pool.LabelClaim: "c1"},
		{pool.LabelRest: "paused"},
		{pool.LabelNetwork: warm}, // as the claim is given other rules
	} {
		if err := b.network("sb-1", labels); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"set " + warm, "recount", "set " + claimed, "set " + warm}; !slices.Equal(s.did, want) {
		t.Errorf("%q, want %q", s.did, want)
	}
}
