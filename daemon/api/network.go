package api

import (
	"context"
	"net/http"

	"sandpool/daemon/rules"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime/checkpoint"
)

// Networks is what the API needs of the network; see network.Server for what its methods promise.
type Networks interface {
	Why(ctx context.Context, sandbox, host string, port int) (wire.NetworkWhy, error)
	Log(sandbox string, since uint64) (entries []wire.NetworkEntry, next uint64, more <-chan struct{})
	Learned(sandbox string) ([]string, error)
	Describe(sandbox string, shown *wire.Network)
	Keep(own []wire.BoundSecret) (key string, err error)
	Drop(keys ...string)
}

// setNetwork has a claim narrow what its sandbox may connect to, or what the claim might that was saved in the checkpoint that it goes on from.
func setNetwork(own *wire.NetworkRules, req *pool.Request, saved checkpoint.Manifest) (err error) {
	if req.Checkpoint == "" {
		req.Network, err = rules.Claimed(own)
	} else {
		req.Network, err = rules.Restored(own, saved.Network)
	}
	return err
}

func (a *api) showNetwork(w http.ResponseWriter, r *http.Request) error {
	claim, err := a.find(r)
	if err != nil {
		return err
	}
	return a.answerNetwork(w, claim)
}

func (a *api) answerNetwork(w http.ResponseWriter, claim pool.Claim) error {
	shown, err := rules.Show(claim.Network, func() ([]string, error) { return a.Networks.Learned(claim.Sandbox) })
	if err != nil {
		return err
	}
	a.Networks.Describe(claim.Sandbox, &shown)
	return answerJSON(w, http.StatusOK, shown)
}

// changeNetwork puts other rules of its own in place of a claim's.
func (a *api) changeNetwork(w http.ResponseWriter, r *http.Request) error {
	claim, err := a.find(r)
	if err != nil {
		return err
	}
	var body wire.NetworkRules
	if err := decode(w, r, &body); err != nil {
		return err
	}
	change, err := rules.Changed(body)
	if err != nil {
		return err
	}
	if claim, err = a.Claims.SetNetwork(r.Context(), claim.ID, change); err != nil {
		return err
	}
	a.Log.Info("network changed", "claim", claim.ID, "sandbox", claim.Sandbox)
	return a.answerNetwork(w, claim)
}

// whyNetwork says what would become of a connection.
func (a *api) whyNetwork(w http.ResponseWriter, r *http.Request) error {
	claim, err := a.find(r)
	if err != nil {
		return err
	}
	q, err := rules.ParseWhy(r.URL.RawQuery)
	if err != nil {
		return err
	}
	why := rules.Closed(q)
	if claim.Network != "" {
		why, err = a.Networks.Why(r.Context(), claim.Sandbox, q.Name, q.Port)
	}
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, why)
}

// networkLog sends what a sandbox did in the network, and goes on with it if that is asked for, until the claim ends.
func (a *api) networkLog(w http.ResponseWriter, r *http.Request) error {
	claim, err := a.find(r)
	if err != nil {
		return err
	}
	q, err := rules.ParseLog(r.URL.RawQuery)
	if err != nil {
		return err
	}
	if q.Follow {
		who, _ := actorOf(r.Context())
		leave, err := a.crowd.followers.take(who)
		if err != nil {
			return err
		}
		defer leave()
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	for since := q.Since; ; {
		entries, next, more := a.Networks.Log(claim.Sandbox, since)
		if err := sendLines(w, entries); err != nil { // as of events: who follows comes again
			a.Log.Debug("log of the network could not be sent", "err", err)
			return nil
		}
		if !q.Follow || len(entries) == 0 && (more == nil || !a.wait(r.Context(), more)) {
			return nil
		}
		since = next
	}
}
