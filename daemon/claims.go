package daemon

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/pool"
)

// defaultTemplate is what a claim that names no template gets.
const defaultTemplate = "default"

// releaseTimeout bounds the release of a claim that its client never heard of.
const releaseTimeout = 30 * time.Second

var (
	claimID   = regexp.MustCompile(`^c-[a-z2-7]{16}$`)
	requestID = regexp.MustCompile(`^[ -~]{1,128}$`)
)

func (a *api) claim(w http.ResponseWriter, r *http.Request) error {
	var body wire.ClaimRequest
	if err := decode(w, r, &body); err != nil {
		return err
	}
	who, _ := actorOf(r.Context())
	req, err := a.poolRequest(who, body)
	if err != nil {
		return err
	}
	began := time.Now()
	claim, repeated, err := a.claims.Claim(r.Context(), req)
	a.metrics.claimed(poolName(a.info.Region, req.Template), claim, repeated, err, time.Since(began))
	if err != nil {
		return err
	}
	if repeated {
		return answerJSON(w, http.StatusOK, wireClaim(claim))
	}
	a.log.Info("claimed", "claim", claim.ID, "sandbox", claim.Sandbox, "pool", claim.Pool, "owner", claim.Owner, "pid", who.pid,
		"tier", claim.Tier, "took", time.Since(began))
	if err := answerJSON(w, http.StatusCreated, wireClaim(claim)); err != nil {
		a.takeBack(r.Context(), claim, err)
	}
	return nil
}

// poolRequest checks a claim's body and fills in the defaults.
func (a *api) poolRequest(who actor, body wire.ClaimRequest) (pool.Request, error) {
	req := pool.Request{Template: body.Template, Owner: who.owner(), RequestID: body.RequestID, Fallback: body.Fallback, Cold: body.Start == wire.StartCold}
	if req.Template == "" {
		req.Template = defaultTemplate
	}
	if body.RequestID != "" && !requestID.MatchString(body.RequestID) {
		return pool.Request{}, invalid("request_id: want 1 to 128 printable ASCII characters")
	}
	if body.Fallback && req.Cold {
		return pool.Request{}, invalid("fallback: a claim with start %q takes from no pool", wire.StartCold)
	}
	if body.Start != "" && body.Start != wire.StartAny && body.Start != wire.StartCold {
		return pool.Request{}, invalid("start: %q: want %q or %q", body.Start, wire.StartAny, wire.StartCold)
	}
	limits := a.limits()
	req.Wait = limits.ClaimWait.Std()
	if body.Wait != nil {
		req.Wait = body.Wait.Std()
	}
	if most := limits.MaxWait; req.Wait < 0 || req.Wait > most.Std() {
		return pool.Request{}, invalid("wait: %s: want 0s to %s (limits.max_wait)", req.Wait, most)
	}
	req.Lifetime = body.Lifetime.Std()
	if req.Lifetime == 0 {
		req.Lifetime = limits.Lifetime.Std()
	}
	if most := limits.MaxLifetime; req.Lifetime < 0 || req.Lifetime > most.Std() {
		return pool.Request{}, invalid("lifetime: %s: want more than 0s, at most %s (limits.max_lifetime)", req.Lifetime, most)
	}
	return req, nil
}

// takeBack releases a claim whose answer did not arrive: nobody else would. One with a request id can still be asked for.
func (a *api) takeBack(ctx context.Context, claim pool.Claim, why error) {
	if claim.RequestID != "" {
		return
	}
	a.log.Info("claim is taken back", "claim", claim.ID, "reason", why)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := a.claims.Release(ctx, claim.ID); err != nil && !errdefs.IsNotFound(err) {
		a.log.Warn("claim could not be taken back; it ends with its lifetime", "claim", claim.ID, "err", err)
	}
}

func (a *api) listClaims(w http.ResponseWriter, r *http.Request) error {
	who, _ := actorOf(r.Context())
	list := wire.ClaimList{Claims: []wire.Claim{}}
	for _, c := range a.claims.Claims() {
		if who.sees(c.Owner) {
			list.Claims = append(list.Claims, wireClaim(c))
		}
	}
	return answerJSON(w, http.StatusOK, list)
}

func (a *api) getClaim(w http.ResponseWriter, r *http.Request) error {
	claim, err := a.find(r)
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, wireClaim(claim))
}

func (a *api) releaseClaim(w http.ResponseWriter, r *http.Request) error {
	claim, err := a.find(r)
	if err != nil {
		return err
	}
	if err := a.claims.Release(r.Context(), claim.ID); err != nil {
		return err
	}
	a.log.Info("released", "claim", claim.ID, "sandbox", claim.Sandbox, "pool", claim.Pool)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// find returns the claim that the path names. One of somebody else's does not exist as far as the client can tell.
func (a *api) find(r *http.Request) (pool.Claim, error) {
	id := r.PathValue("id")
	if !claimID.MatchString(id) {
		return pool.Claim{}, invalid("claim id %q: want \"c-\" and 16 of the characters a-z and 2-7", id)
	}
	claim, err := a.claims.Get(id)
	who, _ := actorOf(r.Context())
	if errdefs.IsNotFound(err) || err == nil && !who.sees(claim.Owner) {
		return pool.Claim{}, errdefs.ErrNotFound.WithMessage(fmt.Sprintf("claim %s does not exist or has ended", id))
	}
	return claim, err
}

func wireClaim(c pool.Claim) wire.Claim {
	state := wire.ClaimRunning
	if c.State == pool.Dead {
		state = wire.ClaimDead
	}
	return wire.Claim{
		ID: c.ID, Sandbox: c.Sandbox, Template: c.Template, Pool: c.Pool, Owner: c.Owner, RequestID: c.RequestID,
		State: state, Reason: c.Reason, Tier: wire.Tier(c.Tier),
		CreatedAt: c.CreatedAt, ClaimedAt: c.ClaimedAt, ExpiresAt: c.ExpiresAt,
	}
}
