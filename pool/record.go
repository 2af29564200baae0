package pool

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"sandpool/lifetime"
)

// The labels of a sandbox's container. They are the only store: a daemon that starts knows no more than they say.
const (
	LabelPrefix      = "sandpool."
	LabelVersion     = LabelPrefix + "version"
	LabelState       = LabelPrefix + "state"
	LabelPool        = LabelPrefix + "pool"
	LabelFingerprint = LabelPrefix + "fingerprint"
	LabelOnClaim     = LabelPrefix + "on-claim"
	LabelCreated     = LabelPrefix + "created-at"
	LabelClaim       = LabelPrefix + "claim"
	LabelOwner       = LabelPrefix + "owner"
	LabelRequest     = LabelPrefix + "request-id"
	LabelTier        = LabelPrefix + "tier"
	LabelTemplate    = LabelPrefix + "template"
	LabelClaimed     = LabelPrefix + "claimed-at"
	LabelExpires     = LabelPrefix + "expires-at"
	LabelType        = LabelPrefix + "lifetime-type"
	LabelLifetime    = LabelPrefix + "lifetime"
	LabelWarning     = LabelPrefix + "warning"
	LabelGrace       = LabelPrefix + "grace"
	LabelExtensions  = LabelPrefix + "extensions"
	LabelExtended    = LabelPrefix + "extended"
	LabelStage       = LabelPrefix + "stage"
	LabelCheckpoint  = LabelPrefix + "checkpoint"
	LabelGiven       = LabelPrefix + "given"
	LabelMetadata    = LabelPrefix + "metadata"
	LabelRest        = LabelPrefix + "rest"
	LabelSaved       = LabelPrefix + "saved-as"
	LabelReason      = LabelPrefix + "reason"
)

// labelVersion is the version of the labels that this code writes. It reads version 1 too, whose claims have no lease but an end.
const labelVersion = "2"

// maxReason keeps a reason well below containerd's limit of 4096 bytes for a label.
const maxReason = 1024

// Record is what a sandbox's labels say.
type Record struct {
	State       State
	Pool        string // region:template
	Fingerprint string // of what the sandbox was started from; see Config
	OnClaim     string // see Source
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
		LabelVersion:     labelVersion,
		LabelState:       string(r.State),
		LabelPool:        r.Pool,
		LabelFingerprint: r.Fingerprint,
		LabelCreated:     formatTime(r.CreatedAt),
	}
	if r.OnClaim != "" {
		labels[LabelOnClaim] = r.OnClaim
	}
	if r.Grant.ID != "" {
		labels[LabelClaim] = r.Grant.ID
		labels[LabelOwner] = r.Grant.Owner
		labels[LabelRequest] = r.Grant.RequestID
		labels[LabelTier] = r.Grant.Tier
		labels[LabelTemplate] = r.Grant.Template
		labels[LabelCheckpoint] = r.Grant.From
		labels[LabelGiven] = string(r.Grant.Given)
		labels[LabelMetadata] = r.Grant.Metadata
		labels[LabelClaimed] = formatTime(r.Grant.ClaimedAt)
		maps.Copy(labels, leaseLabels(r.Grant.Lease))
		maps.Copy(labels, restLabels(r.Rest, r.Saved))
	}
	if r.Reason != "" {
		labels[LabelReason] = clip(r.Reason)
	}
	return labels
}

// leaseLabels are the part of the labels that an extension and each stage change.
func leaseLabels(l lifetime.Lease) map[string]string {
	return map[string]string{
		LabelExpires:    formatTime(l.ExpiresAt),
		LabelType:       l.Kind,
		LabelLifetime:   l.Type.Lifetime.String(),
		LabelWarning:    l.Type.Warning.String(),
		LabelGrace:      l.Type.Grace.String(),
		LabelExtensions: strconv.Itoa(l.Type.Extensions),
		LabelExtended:   strconv.Itoa(l.Extended),
		LabelStage:      string(l.Stage),
	}
}

func restLabels(rest Rest, saved string) map[string]string {
	return map[string]string{LabelRest: string(rest), LabelSaved: saved}
}

// NewerError says that labels were written by a later version of the daemon. Such a sandbox is not touched.
type NewerError struct{ Version int }

func (e *NewerError) Error() string {
	return fmt.Sprintf("labels of version %d: a newer sandpoold wrote them, this one reads versions 1 to %s", e.Version, labelVersion)
}

// ParseRecord reads the labels of a container. It returns an error for labels that no version wrote, and a *NewerError for
// those of a later one.
func ParseRecord(labels map[string]string) (Record, error) {
	version, err := strconv.Atoi(labels[LabelVersion])
	switch newest, _ := strconv.Atoi(labelVersion); {
	case err == nil && version > newest:
		return Record{}, &NewerError{version}
	case err != nil || version < 1:
		return Record{}, fmt.Errorf("labels of version %q: this daemon reads versions 1 to %s", labels[LabelVersion], labelVersion)
	}
	r := Record{
		State:       State(labels[LabelState]),
		Pool:        labels[LabelPool],
		Fingerprint: labels[LabelFingerprint],
		OnClaim:     labels[LabelOnClaim],
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
	if r.CreatedAt, err = parseTime(labels, LabelCreated); err != nil {
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
	if g.ClaimedAt, err = parseTime(labels, LabelClaimed); err != nil {
		return Grant{}, err
	}
	if version == 1 {
		g.Lease.Stage = lifetime.Steady
		if g.Lease.ExpiresAt, err = parseTime(labels, LabelExpires); err != nil {
			return Grant{}, err
		}
		g.Lease.Type.Lifetime = g.Lease.ExpiresAt.Sub(g.ClaimedAt)
		return g, nil
	}
	g.Lease, err = parseLease(labels)
	return g, err
}

func parseLease(labels map[string]string) (lifetime.Lease, error) {
	l := lifetime.Lease{Kind: labels[LabelType], Stage: lifetime.Stage(labels[LabelStage])}
	if l.Stage != lifetime.Steady && l.Stage != lifetime.Warned && l.Stage != lifetime.Grace {
		return lifetime.Lease{}, fmt.Errorf("label %s: unknown stage %q", LabelStage, l.Stage)
	}
	var err error
	if l.ExpiresAt, err = parseTime(labels, LabelExpires); err != nil {
		return lifetime.Lease{}, err
	}
	for label, d := range map[string]*time.Duration{LabelLifetime: &l.Type.Lifetime, LabelWarning: &l.Type.Warning, LabelGrace: &l.Type.Grace} {
		if *d, err = time.ParseDuration(labels[label]); err != nil || *d < 0 {
			return lifetime.Lease{}, fmt.Errorf("label %s: %q is no duration", label, labels[label])
		}
	}
	for label, n := range map[string]*int{LabelExtensions: &l.Type.Extensions, LabelExtended: &l.Extended} {
		if *n, err = strconv.Atoi(labels[label]); err != nil || *n < 0 {
			return lifetime.Lease{}, fmt.Errorf("label %s: %q is no number", label, labels[label])
		}
	}
	return l, nil
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func parseTime(labels map[string]string, key string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, labels[key])
	if err != nil {
		return time.Time{}, fmt.Errorf("label %s: %q is not an RFC 3339 time", key, labels[key])
	}
	return t, nil
}

// clip makes s fit into a label.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	return s
}
