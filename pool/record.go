package pool

import (
	"fmt"
	"strings"
	"time"
)

// The labels of a sandbox's container. They are the only store: a daemon that starts knows no more than they say.
const (
	LabelPrefix      = "sandpool."
	LabelVersion     = LabelPrefix + "version"
	LabelState       = LabelPrefix + "state"
	LabelPool        = LabelPrefix + "pool"
	LabelFingerprint = LabelPrefix + "fingerprint"
	LabelCreated     = LabelPrefix + "created-at"
	LabelClaim       = LabelPrefix + "claim"
	LabelOwner       = LabelPrefix + "owner"
	LabelRequest     = LabelPrefix + "request-id"
	LabelTier        = LabelPrefix + "tier"
	LabelTemplate    = LabelPrefix + "template"
	LabelClaimed     = LabelPrefix + "claimed-at"
	LabelExpires     = LabelPrefix + "expires-at"
	LabelReason      = LabelPrefix + "reason"
)

// labelVersion is the version of the labels that this code writes and reads.
const labelVersion = "1"

// maxReason keeps a reason well below containerd's limit of 4096 bytes for a label.
const maxReason = 1024

// Record is what a sandbox's labels say.
type Record struct {
	State       State
	Pool        string // region:template
	Fingerprint string // of what the sandbox was started from; see Config
	CreatedAt   time.Time
	Grant       Grant  // with states Claimed and Dead
	Reason      string // with state Dead
}

// Grant is the part of a record that its claim adds.
type Grant struct {
	ID        string
	Owner     string
	RequestID string // may be empty
	Template  string // asked for; after a fallback not that of the sandbox's pool
	Tier      string
	ClaimedAt time.Time
	ExpiresAt time.Time
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
	if r.Grant.ID != "" {
		labels[LabelClaim] = r.Grant.ID
		labels[LabelOwner] = r.Grant.Owner
		labels[LabelRequest] = r.Grant.RequestID
		labels[LabelTier] = r.Grant.Tier
		labels[LabelTemplate] = r.Grant.Template
		labels[LabelClaimed] = formatTime(r.Grant.ClaimedAt)
		labels[LabelExpires] = formatTime(r.Grant.ExpiresAt)
	}
	if r.Reason != "" {
		labels[LabelReason] = clip(r.Reason)
	}
	return labels
}

// ParseRecord reads the labels of a container. It returns an error for labels that this version did not write.
func ParseRecord(labels map[string]string) (Record, error) {
	if v := labels[LabelVersion]; v != labelVersion {
		return Record{}, fmt.Errorf("labels of version %q: this daemon reads version %s", v, labelVersion)
	}
	r := Record{
		State:       State(labels[LabelState]),
		Pool:        labels[LabelPool],
		Fingerprint: labels[LabelFingerprint],
		Reason:      labels[LabelReason],
	}
	if _, known := moves[r.State]; !known || r.State == Reserved {
		return Record{}, fmt.Errorf("label %s: unknown state %q", LabelState, r.State)
	}
	var err error
	if r.CreatedAt, err = parseTime(labels, LabelCreated); err != nil {
		return Record{}, err
	}
	if labels[LabelClaim] == "" {
		if r.State == Claimed || r.State == Dead {
			return Record{}, fmt.Errorf("label %s: missing in state %q", LabelClaim, r.State)
		}
		return r, nil
	}
	r.Grant, err = parseGrant(labels)
	return r, err
}

func parseGrant(labels map[string]string) (Grant, error) {
	g := Grant{ID: labels[LabelClaim], Owner: labels[LabelOwner], RequestID: labels[LabelRequest], Template: labels[LabelTemplate], Tier: labels[LabelTier]}
	var err error
	if g.ClaimedAt, err = parseTime(labels, LabelClaimed); err != nil {
		return Grant{}, err
	}
	if g.ExpiresAt, err = parseTime(labels, LabelExpires); err != nil {
		return Grant{}, err
	}
	return g, nil
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
