package api

import (
	"net/http"

	"sandpool/daemon/rules"
	"sandpool/daemon/wire"
	"sandpool/pool"
)

// setBound has a claim's requests be sent with secrets of its own. What they are made of is kept until undo is called, or the claim ends.
func (a *api) setBound(own []wire.BoundSecret, req *pool.Request) (undo func(), err error) {
	if len(own) == 0 {
		return func() {}, nil
	}
	key, err := a.Networks.Keep(own)
	if err != nil {
		return nil, err
	}
	req.Network = rules.Bind(req.Network, own, key)
	return func() { a.Networks.Drop(key) }, nil
}

// bindSecrets puts other secrets of its own in place of a claim's.
func (a *api) bindSecrets(w http.ResponseWriter, r *http.Request) error {
	claim, err := a.find(r)
	if err != nil {
		return err
	}
	var body wire.BoundSecrets
	if err := decode(w, r, &body); err != nil {
		return err
	}
	if body.BoundSecrets == nil {
		return invalid("bound_secrets: missing: want a list, which is empty if there are to be none")
	}
	key, err := a.Networks.Keep(body.BoundSecrets)
	if err != nil {
		return err
	}
	var before string
	bind := rules.Bind(nil, body.BoundSecrets, key)
	changed, err := a.Claims.SetNetwork(r.Context(), claim.ID, func(has string) (string, error) {
		before = has
		return bind(has)
	})
	if err != nil {
		a.Networks.Drop(key)
		return err
	}
	a.Networks.Drop(rules.Keys(before)...)
	a.Log.Info("secrets bound", "claim", claim.ID, "sandbox", claim.Sandbox, "count", len(body.BoundSecrets))
	return a.answerNetwork(w, changed)
}
