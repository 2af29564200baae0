package pool

import (
	"fmt"
	"maps"
	"strconv"
	"time"

	"sandpool/lifetime"
	"sandpool/pool/label"
)

// The labels of a sandbox's container. They are the only store: a daemon that starts knows no more than they say.
const (
	LabelPrefix      = label.Prefix
	LabelVersion     = LabelPrefix + "version"
	LabelState       = LabelPrefix + "state"
	LabelPool        = LabelPrefix + "pool"
	LabelFingerprint = LabelPrefix + "fingerprint"
	LabelNetwork     = LabelPrefix + "network" // and, if it is long, more with a number behind
	LabelOnClaim     = LabelPrefix + "on-claim"
	LabelCreated     = LabelPrefix + "created-at"
	LabelClaim       = LabelPrefix + "claim"
	LabelOwner       = LabelPrefix + "owner"
	LabelRequest     = LabelPrefix + "request-id"
	LabelTier        = LabelPrefix + "tier"
	LabelTemplate    = LabelPrefix + "template"
	LabelClaimed     = LabelPrefix + "claimed-at"
	LabelCheckpoint  = LabelPrefix + "checkpoint"
	LabelGiven       = LabelPrefix + "given"
	LabelMetadata    = LabelPrefix + "metadata"
	LabelRest        = LabelPrefix + "rest"
	LabelSaved       = LabelPrefix + "saved-as"
	LabelReason      = LabelPrefix + "reason"
)

// labelVersion is the version of the labels that this code writes. It reads version 1 too, whose claims have no lease but an end.
const labelVersion = 2

// Record is what a sandbox's labels say.
type Record struct {
	State       State
	Pool        string // region:template
	Fingerprint string // of what the sandbox was started from; see Config
	OnClaim     string // see Source
	Network     string // what the sandbox may connect to; with a claim: what the claim may. Empty: nothing
	CreatedAt   time.Time
	Grant       Grant  // with states Claimed and Dead
	Rest        Rest   // with state Claimed
	Saved       string // with Rest Suspended: the checkpoint that it is woken from
	Reason      string // with states Dead and Terminating
}

// Rest says how a claimed sandbox waits for its next use.
type Rest string

const (
	// Awake is a sandbox that runs.
	Awake Rest = ""
	// IdlePaused is a sandbox that is paused.
	IdlePaused Rest = "paused"
	// Suspended is a sandbox that was written to disk; it has no processes.
	Suspended Rest = "suspended"
)

// Given says what a claim brought along for its sandbox. What it is stays in the sandbox: labels are for everybody to read who may use containerd.
type Given string

const (
	// Nothing is what most claims bring along.
	Nothing Given = ""
	// Environment is what all that is started in the sandbox gets in its environment.
	Environment Given = "environment"
	// Secrets are among that, and must not get into a checkpoint.
	Secrets Given = "secrets"
)

// Grant is the part of a record that its claim adds.
type Grant struct {
	ID        string
	Owner     string
	RequestID string // may be empty
	Template  string // asked for; after a fallback not that of the sandbox's pool
	Tier      string
	From      string // checkpoint that the sandbox was restored from; may be empty
	Given     Given
	Metadata  string // its owner's, as text of the API; may be empty
	ClaimedAt time.Time
	Lease     lifetime.Lease
}

// Labels writes the record down.
func (r Record) Labels() map[string]string {
	labels := map[string]string{
		LabelVersion:     strconv.Itoa(labelVersion),
		LabelState:       string(r.State),
		LabelPool:        r.Pool,
		LabelFingerprint: r.Fingerprint,
		LabelCreated:     label.FormatTime(r.CreatedAt),
	}
	if r.OnClaim != "" {
		labels[LabelOnClaim] = r.OnClaim
	}
	maps.Copy(labels, label.Split(LabelNetwork, r.Network))
	if r.Grant.ID != "" {
		labels[LabelClaim] = r.Grant.ID
		labels[LabelOwner] = r.Grant.Owner
		labels[LabelRequest] = r.Grant.RequestID
		labels[LabelTier] = r.Grant.Tier
		labels[LabelTemplate] = r.Grant.Template
		labels[LabelCheckpoint] = r.Grant.From
		labels[LabelGiven] = string(r.Grant.Given)
		labels[LabelMetadata] = r.Grant.Metadata
		labels[LabelClaimed] = label.FormatTime(r.Grant.ClaimedAt)
		maps.Copy(labels, label.FormatLease(r.Grant.Lease))
		maps.Copy(labels, restLabels(r.Rest, r.Saved))
	}
	if r.Reason != "" {
		labels[LabelReason] = label.Clip(r.Reason)
	}
	return labels
}

func restLabels(rest Rest, saved string) map[string]string {
	return map[string]string{LabelRest: string(rest), LabelSaved: saved}
}

// ParseRecord reads the labels of a container. It returns an error for labels that no version wrote, and a *label.NewerError for
// those of a later one.
func ParseRecord(labels map[string]string) (Record, error) {
	version, err := label.Version(labels[LabelVersion], labelVersion)
	if err != nil {
		return Record{}, err
	}
	r := Record{
		State:       State(labels[LabelState]),
		Pool:        labels[LabelPool],
		Fingerprint: labels[LabelFingerprint],
		OnClaim:     labels[LabelOnClaim],
		Network:     label.Join(labels, LabelNetwork),
		Rest:        Rest(labels[LabelRest]),
		Saved:       labels[LabelSaved],
		Reason:      labels[LabelReason],
	}
	if _, known := moves[r.State]; !known || r.State == Reserved {
		return Record{}, fmt.Errorf("label %s: unknown state %q", LabelState, r.State)
	}
	if r.Rest != Awake && r.Rest != IdlePaused && r.Rest != Suspended {
		return Record{}, fmt.Errorf("label %s: unknown rest %q", LabelRest, r.Rest)
	}
	if r.CreatedAt, err = label.Time(labels, LabelCreated); err != nil {
		return Record{}, err
	}
	if labels[LabelClaim] == "" {
		if r.State == Claimed || r.State == Dead {
			return Record{}, fmt.Errorf("label %s: missing in state %q", LabelClaim, r.State)
		}
		return r, nil
	}
	r.Grant, err = parseGrant(labels, version)
	return r, err
}

func parseGrant(labels map[string]string, version int) (Grant, error) {
	g := Grant{
		ID: labels[LabelClaim], Owner: labels[LabelOwner], RequestID: labels[LabelRequest], Template: labels[LabelTemplate],
		Tier: labels[LabelTier], From: labels[LabelCheckpoint], Given: Given(labels[LabelGiven]), Metadata: labels[LabelMetadata],
	}
	if g.Given != Nothing && g.Given != Environment && g.Given != Secrets {
		return Grant{}, fmt.Errorf("label %s: unknown kind %q", LabelGiven, g.Given)
	}
	var err error
	if g.ClaimedAt, err = label.Time(labels, LabelClaimed); err != nil {
		return Grant{}, err
	}
	if version == 1 {
		g.Lease, err = label.FirstLease(labels, g.ClaimedAt)
	} else {
		g.Lease, err = label.Lease(labels)
	}
	return g, err
}
