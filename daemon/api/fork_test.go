package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime/checkpoint"
)

// forking has the fake grant forks from then on, and fail the one of the given number.
func forking(ts *testServer, failing int) {
	made := 0
	ts.claims.grant = func() (pool.Claim, error) {
		made++
		if made == failing {
			return pool.Claim{}, errdefs.ErrFailedPrecondition.WithMessage("it does not fit")
		}
		claim := ts.claims.claims[runningID]
		claim.ID = fmt.Sprintf("c-%016d", made)
		ts.claims.claims[claim.ID] = claim
		return claim, nil
	}
}

func TestFork(t *testing.T) {
	ts := startServer(t)
	ts.shelf.all[savedID] = checkpoint.Manifest{ID: savedID, Trigger: checkpoint.TriggerFork}
	ts.saver.manifest.Network = `[{"mode":"door","allow":["*"]},{"deny":["a.test"]}]`
	forking(ts, 0)
	got := ts.do(t, "POST", "/v1/claims/"+runningID+"/fork", `{"count": 3, "type": "cicd"}`)
	var list wire.ClaimList
	if err := json.Unmarshal([]byte(got.body), &list); err != nil || got.status != http.StatusCreated || len(list.Claims) != 3 {
		t.Fatalf("%+v, %v; want three claims", got, err)
	}
	if want := []string{runningID + " fork "}; !slices.Equal(ts.saver.taken, want) {
		t.Errorf("saved %q, want %q", ts.saver.taken, want)
	}
	if last := ts.claims.last; last.Checkpoint != savedID || last.Kind != "cicd" || last.Template != "default" {
		t.Errorf("forks were asked for with %+v", last)
	}
	if network, err := ts.claims.last.Network(`[{"mode":"door","allow":["*"]}]`); !strings.Contains(network, `{"deny":["a.test"]}`) || err != nil {
		t.Errorf("forks of a claim with rules of its own may connect by %s, %v", network, err)
	}
	if _, err := ts.shelf.Get(savedID); !errdefs.IsNotFound(err) {
		t.Errorf("the fork's checkpoint is left: %v", err)
	}
}

// TestForkIsWholeOrNot fails one fork of three, or the deletion of the checkpoint after all of them.
func TestForkIsWholeOrNot(t *testing.T) {
	for name, test := range map[string]struct {
		failing  int
		shelfErr error
		message  string
		back     int // claims that are taken back, at most
	}{
		"a fork fails":                     {2, nil, "fork: it does not fit", 2},
		"the checkpoint cannot be deleted": {0, errors.New("disk on fire"), "disk on fire", 3},
	} {
		t.Run(name, func(t *testing.T) {
			ts := startServer(t)
			forking(ts, test.failing)
			ts.shelf.err = test.shelfErr
			got := ts.do(t, "POST", "/v1/claims/"+runningID+"/fork", `{"count": 3}`)
			var answer wire.Error
			if err := json.Unmarshal([]byte(got.body), &answer); err != nil || got.status < 400 || answer.Message != test.message {
				t.Errorf("%+v, %v; want %q alone", got, err, test.message)
			}
			for id := range ts.claims.claims {
				if !slices.Contains([]string{runningID, deadID, othersID}, id) {
					t.Errorf("fork %s is left", id)
				}
			}
			if back := len(ts.claims.released); back == 0 || back > test.back {
				t.Errorf("%d forks were taken back, want up to %d", back, test.back)
			}
		})
	}
}
