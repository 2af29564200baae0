package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"sandpool/runtime/checkpoint"
)

// endingSaver fails since the claim is released while it saves.
type endingSaver struct {
	*fakeSaver
	claims *fakeClaims
}

func (s endingSaver) Take(ctx context.Context, claim, _, _ string) (checkpoint.Manifest, error) {
	if err := s.claims.Release(ctx, claim); err != nil {
		return checkpoint.Manifest{}, err
	}
	return checkpoint.Manifest{}, errors.New("checkpoint sandbox: runsc did not terminate successfully")
}

func (s endingSaver) Retire(ctx context.Context, claim, comment string) (checkpoint.Manifest, error) {
	return s.Take(ctx, claim, "", comment)
}

// TestSaveOfAClaimThatEnds says that the claim has ended, and not how its save broke.
func TestSaveOfAClaimThatEnds(t *testing.T) {
	for path, body := range map[string]string{"checkpoint": "", "fork": `{"count": 2}`, "checkpoint?stop": `{"stop": true}`} {
		t.Run(path, func(t *testing.T) {
			ts := startServer(t)
			ts.api.Keeper = endingSaver{ts.saver, ts.claims}
			got := ts.do(t, "POST", "/v1/claims/"+runningID+"/"+path, body)
			if got.status != http.StatusConflict || !strings.Contains(got.body, "was released or expired") {
				t.Errorf("%d %s, want a conflict that says that the claim was released", got.status, got.body)
			}
		})
	}
}
