package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/configs"
	"sandpool/daemon/begin"
	"sandpool/daemon/metadata"
	"sandpool/daemon/telemetry"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
	"sandpool/pool"
	"sandpool/runtime/checkpoint"
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
	work, err := begin.Parse(a.tools(), body)
	if err != nil {
		return err
	}
	req.Begin = work.Do
	leave, err := a.crowd.claims.take(who)
	if err != nil {
		return err
	}
	defer leave()
	unbind, err := a.setBound(body.BoundSecrets, &req)
	if err != nil {
		return err
	}
	began := time.Now()
	claim, repeated, err := a.grant(r.Context(), req)
	if err != nil {
		unbind()
		return err
	}
	if repeated {
		unbind()
		return answerJSON(w, http.StatusOK, wireClaim(claim))
	}
	a.Log.Info("claimed", "kind", pool.EventClaimed, "claim", claim.ID, "sandbox", claim.Sandbox, "pool", claim.Pool, "owner", claim.Owner, "pid", who.pid,
		"tier", claim.Tier, "took", time.Since(began))
	answer := wireClaim(claim)
	answer.Process = work.Process
	if err := answerJSON(w, http.StatusCreated, answer); err != nil {
		a.takeBack(r.Context(), err, claim)
	}
	return nil
}

// tools are what is needed to begin claims.
func (a *api) tools() begin.Tools {
	return begin.Tools{Exec: a.Exec, Processes: a.Processes, Tracer: a.Tracer}
}

// grant gets a claim from the pools, and counts and traces that.
func (a *api) grant(ctx context.Context, req pool.Request) (pool.Claim, bool, error) {
	began := time.Now()
	ctx, done := a.traceClaim(ctx, &req)
	claim, repeated, err := a.Claims.Claim(ctx, req)
	done(claim, repeated, err)
	if hook, ok := errors.AsType[*begin.HookError](err); ok {
		a.Log.Warn("on_claim failed a claim", "template", hook.Template, "reason", hook.Reason)
	}
	name := wire.PoolName(a.Info.Region, req.Template)
	if errdefs.IsNotFound(err) { // there is no such pool; names that clients make up are no labels
		name = ""
	}
	a.Metrics.Claimed(name, claim, claimResult(repeated, err), time.Since(began))
	return claim, repeated, err
}

// claimResult is what came of a claim: granted, repeated or the code of the error.
func claimResult(repeated bool, err error) string {
	switch {
	case err != nil:
		return describe(err).Code
	case repeated:
		return "repeated" // an earlier claim had its request id
	default:
		return telemetry.ResultGranted
	}
}

// poolRequest checks a claim's body and fills in the defaults.
func (a *api) poolRequest(who actor, body wire.ClaimRequest) (pool.Request, error) {
	req := pool.Request{
		Template: body.Template, Owner: who.owner(), RequestID: body.RequestID, Fallback: body.Fallback, Cold: body.Start == wire.StartCold,
		Checkpoint: body.Checkpoint, Quota: a.quota(who),
	}
	var saved checkpoint.Manifest
	if body.Checkpoint != "" {
		var err error
		if saved, err = a.fromCheckpoint(who, body, &req); err != nil {
			return pool.Request{}, err
		}
	}
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
	if err := setNetwork(body.Network, &req, saved); err != nil {
		return pool.Request{}, err
	}
	if err := setGiven(body, &req); err != nil {
		return pool.Request{}, err
	}
	if err := a.setWait(body.Wait, &req); err != nil {
		return pool.Request{}, err
	}
	return req, a.setLifetime(body.Type, body.Lifetime, &req)
}

// quota is the most claims that the actor may have, 0 for any number.
func (a *api) quota(who actor) int {
	if who.operates() {
		return 0
	}
	return a.Config().Limits.ClaimsPerUser
}

// fromCheckpoint makes req a claim that goes on from a checkpoint, which it returns.
func (a *api) fromCheckpoint(who actor, body wire.ClaimRequest, req *pool.Request) (checkpoint.Manifest, error) {
	m, err := a.findCheckpoint(who, body.Checkpoint)
	if err != nil {
		return m, err
	}
	if body.Template != "" && body.Template != m.Template {
		return m, invalid("template: %q: checkpoint %s is of template %q", body.Template, m.ID, m.Template)
	}
	if body.Fallback || body.Start == wire.StartCold {
		return m, invalid("checkpoint: neither fallback nor start %q go with it", wire.StartCold)
	}
	req.Template = m.Template
	return m, nil
}

// setWait checks how long a claim may wait, nil meaning the default.
func (a *api) setWait(wait *lifetime.Duration, req *pool.Request) error {
	limits := a.Config().Limits
	req.Wait = limits.ClaimWait.Std()
	if wait != nil {
		req.Wait = wait.Std()
	}
	if req.Wait == 0 && (req.Cold || req.Checkpoint != "") {
		return invalid("wait: 0s: this claim has to wait for the start of its sandbox")
	}
	if most := limits.MaxWait; req.Wait < 0 || req.Wait > most.Std() {
		return invalid("wait: %s: want 0s to %s (limits.max_wait)", req.Wait, most)
	}
	return nil
}

// setLifetime checks a claim's lifetime type, empty meaning that of its template, and its lifetime, nil meaning that of its type.
func (a *api) setLifetime(kind string, lasting *lifetime.Duration, req *pool.Request) error {
	cfg := a.Config()
	kind = cmp.Or(kind, cfg.Templates[req.Template].LifetimeType, cfg.Limits.LifetimeType)
	of, ok := cfg.Lifetimes[kind]
	if !ok {
		meant := slices.DeleteFunc(slices.Sorted(maps.Keys(cfg.Lifetimes)), func(name string) bool { return name == configs.WarmPool })
		return invalid("type: %q: want one of %s", kind, strings.Join(meant, ", "))
	}
	req.Kind, req.Lifetime = kind, of.Type()
	if lasting == nil {
		return nil
	}
	if most := cfg.Limits.MaxLifetime; *lasting <= 0 || *lasting > most {
		return invalid("lifetime: %s: want more than 0s, at most %s (limits.max_lifetime)", lasting, most)
	}
	req.Lifetime = req.Lifetime.Within(lasting.Std())
	return nil
}

// extendClaim puts a claim's end off.
func (a *api) extendClaim(w http.ResponseWriter, r *http.Request) error {
	claim, err := a.find(r)
	if err != nil {
		return err
	}
	var req wire.ExtendRequest
	if err := decode(w, r, &req); err != nil {
		return err
	}
	by := time.Duration(0)
	if req.By != nil {
		if by = req.By.Std(); by <= 0 {
			return invalid("by: %s: want more than 0s", req.By)
		}
	}
	if claim, err = a.Claims.Extend(r.Context(), claim.ID, by); err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, wireClaim(claim))
}

// takeBack releases claims whose answer did not arrive: nobody else would. One with a request id can still be asked for, and
// one without an id was never granted.
func (a *api) takeBack(ctx context.Context, why error, claims ...pool.Claim) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, claim := range claims {
		if claim.ID == "" || claim.RequestID != "" {
			continue
		}
		all.Go(func() {
			a.Log.Info("claim is taken back", "claim", claim.ID, "reason", why)
			if err := a.Claims.Release(ctx, claim.ID); err != nil && !errdefs.IsNotFound(err) {
				a.Log.Warn("sandbox of a claim that was taken back is not destroyed yet", "claim", claim.ID, "err", err)
			}
		})
	}
	all.Wait()
}

func (a *api) listClaims(w http.ResponseWriter, r *http.Request) error {
	wanted, err := metadata.Filter(r.URL.RawQuery)
	if err != nil {
		return invalid("%v", err)
	}
	who, _ := actorOf(r.Context())
	list := wire.ClaimList{Claims: []wire.Claim{}}
	for _, c := range a.Claims.Claims() {
		if who.sees(c.Owner) && wanted(c.Metadata) {
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
	if err := a.Claims.Release(r.Context(), claim.ID); err != nil {
		return err
	}
	a.Log.Info("released", "kind", pool.EventReleased, "claim", claim.ID, "sandbox", claim.Sandbox, "pool", claim.Pool)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// find returns the claim that the path names. One of somebody else's does not exist as far as the client can tell.
func (a *api) find(r *http.Request) (pool.Claim, error) {
	id := r.PathValue("id")
	if !claimID.MatchString(id) {
		return pool.Claim{}, invalid("claim id %q: want \"c-\" and 16 of the characters a-z and 2-7", id)
	}
	claim, err := a.Claims.Get(id)
	who, _ := actorOf(r.Context())
	if errdefs.IsNotFound(err) || err == nil && !who.sees(claim.Owner) {
		return pool.Claim{}, errdefs.ErrNotFound.WithMessage(fmt.Sprintf("claim %s does not exist or has ended", id))
	}
	return claim, err
}

// sources are the pools' tiers as the API names them.
var sources = map[string]wire.Source{
	pool.TierHot: wire.SourceHot, pool.TierPaused: wire.SourcePool, pool.TierCold: wire.SourceStart,
	pool.TierFallback: wire.SourceFallback, pool.TierTemplate: wire.SourceSnapshot, pool.TierRestored: wire.SourceCheckpoint,
}

func wireClaim(c pool.Claim) wire.Claim {
	l := c.Lease
	return wire.Claim{
		ID: c.ID, Sandbox: c.Sandbox, Template: c.Template, Pool: c.Pool, Owner: c.Owner, RequestID: c.RequestID,
		State: wireState(c), Reason: c.Reason, Source: sources[c.Tier], Tier: wire.Tier(c.Tier),
		CreatedAt: c.CreatedAt, ClaimedAt: c.ClaimedAt, ExpiresAt: l.ExpiresAt,
		Type: l.Kind, Lifetime: lifetime.Duration(l.Type.Lifetime), Warning: lifetime.Duration(l.Type.Warning), Grace: lifetime.Duration(l.Type.Grace),
		Stage: string(l.Stage), Extended: l.Extended, Extensions: l.Type.Extensions, Checkpoint: c.From, Phases: wirePhases(c.Phases),
		Metadata: metadata.Decode(c.Metadata), Given: string(c.Given),
	}
}

func wirePhases(p *pool.Phases) *wire.Phases {
	if p == nil {
		return nil
	}
	return &wire.Phases{
		Schedule: wire.Milliseconds(p.Schedule), Image: wire.Milliseconds(p.Image), Sentry: wire.Milliseconds(p.Sentry),
		UserSpace: wire.Milliseconds(p.UserSpace), Dependencies: wire.Milliseconds(p.Dependencies), Ready: wire.Milliseconds(p.Ready),
	}
}

func wireState(c pool.Claim) wire.ClaimState {
	switch {
	case c.State == pool.Dead:
		return wire.ClaimDead
	case c.Rest == pool.IdlePaused:
		return wire.ClaimPaused
	case c.Rest == pool.Suspended:
		return wire.ClaimSuspended
	default:
		return wire.ClaimRunning
	}
}
