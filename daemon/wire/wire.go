// Package wire holds the JSON bodies and the exec frames that sandpoold and its clients exchange.
package wire

import (
	"time"

	"sandpool/lifetime"
)

// DefaultSocket is where sandpoold listens unless it is configured otherwise.
const DefaultSocket = "/run/sandpool/sandpool.sock"

// MaxBody is the largest request body that the API reads, in bytes.
const MaxBody = 64 << 10

// Limits of a command, in bytes. Linux takes no more.
const (
	MaxArgument = 128<<10 - 1 // one argument, or one variable with its name
	MaxCommand  = 2 << 20     // all arguments and variables, with the byte that ends each
	// MaxExecBody is the largest body of an exec request, which may hold twice as much when it is written as JSON.
	MaxExecBody = 2*MaxCommand + MaxBody
)

// Start says where a claim's sandbox may come from.
type Start string

const (
	// StartAny takes a warm sandbox and starts one when there is none. It is the default.
	StartAny Start = "any"
	// StartCold never takes from the pool: the claim waits for a sandbox started for it. It is what a benchmark compares with.
	StartCold Start = "cold"
)

// Tier says how the sandbox of a claim came to be running. It is what Source says, in older words.
type Tier string

// Tiers and their sources.
const (
	TierHot      Tier = "hot"      // SourceHot
	TierPaused   Tier = "paused"   // SourcePool
	TierCold     Tier = "cold"     // SourceStart
	TierFallback Tier = "fallback" // SourceFallback
	TierTemplate Tier = "template" // SourceSnapshot
	TierRestored Tier = "restored" // SourceCheckpoint
)

// Source says where the sandbox of a claim came from.
type Source string

const (
	// SourceHot is a sandbox that waited running in the pool.
	SourceHot Source = "hot"
	// SourcePool is a sandbox that waited paused in the pool and was resumed.
	SourcePool Source = "pool"
	// SourceStart is a sandbox whose start the claim waited for.
	SourceStart Source = "start"
	// SourceFallback is a sandbox from the pool of the template "generic", which stands in for the one asked for.
	SourceFallback Source = "fallback"
	// SourceSnapshot is a sandbox that the claim waited for until it went on from the snapshot of its template.
	SourceSnapshot Source = "snapshot"
	// SourceCheckpoint is a sandbox that goes on from a checkpoint.
	SourceCheckpoint Source = "checkpoint"
)

// ClaimState is the state of a claim as a client sees it.
type ClaimState string

const (
	// ClaimRunning is a claim whose sandbox runs.
	ClaimRunning ClaimState = "running"
	// ClaimPaused is a claim whose sandbox was paused because it was idle. The next command resumes it.
	ClaimPaused ClaimState = "paused"
	// ClaimSuspended is a claim whose sandbox was written to disk because it was idle. The next command restores it.
	ClaimSuspended ClaimState = "suspended"
	// ClaimDead is a claim whose sandbox died; Reason says why. It is kept until it is released or expires.
	ClaimDead ClaimState = "dead"
)

// ClaimRequest is the body of POST /v1/claims. The zero value claims from the default template.
type ClaimRequest struct {
	// Template names the pool to take from.
	Template string `json:"template,omitempty"`
	// RequestID makes the claim idempotent: the same owner and id get the same claim while it lives.
	RequestID string `json:"request_id,omitempty"`
	// Start says where the sandbox may come from; empty means StartAny.
	Start Start `json:"start,omitempty"`
	// Fallback takes a sandbox of the template "generic" rather than wait for one of Template.
	Fallback bool `json:"fallback,omitempty"`
	// Wait is how long the claim may wait for a sandbox; nil means the daemon's default, 0 means not at all.
	Wait *lifetime.Duration `json:"wait,omitempty"`
	// Type names the lifetime type; empty means the template's.
	Type string `json:"type,omitempty"`
	// Lifetime is how long the sandbox may live from now on; nil means as long as its type says.
	Lifetime *lifetime.Duration `json:"lifetime,omitempty"`
	// Checkpoint names a checkpoint to go on from. The template is then the checkpoint's.
	Checkpoint string `json:"checkpoint,omitempty"`
	// Metadata is the caller's own: at most MaxMetadata names of at most 63 bytes, of letters, digits and . _ / -, with values of at most 256 bytes.
	Metadata map[string]string `json:"metadata,omitempty"`
	// Env is KEY=VALUE for the environment of all that is started in the sandbox from now on. It is in its checkpoints.
	Env []string `json:"env,omitempty"`
	// Secrets are as Env, and never written to disk: while it has any the claim cannot be saved, forked or suspended.
	Secrets []string `json:"secrets,omitempty"`
	// CheckpointSecrets lets the secrets be in checkpoints.
	CheckpointSecrets bool `json:"checkpoint_secrets,omitempty"`
	// Network narrows what its template lets it connect to; nil: all of that.
	Network *NetworkRules `json:"network,omitempty"`
	// BoundSecrets are the claim's own that its requests are sent with.
	BoundSecrets []BoundSecret `json:"bound_secrets,omitempty"`
	// Files are written before the answer, and before Command.
	Files []ClaimFile `json:"files,omitempty"`
	// Command is started before the answer, as by ProcessRequest.
	Command []string `json:"command,omitempty"`
}

// ClaimFile is a small file that a claim brings along. A larger one is sent by PUT /v1/claims/{id}/files.
type ClaimFile struct {
	Path    string `json:"path"`
	Content []byte `json:"content,omitempty"` // in base64
	Text    string `json:"text,omitempty"`    // instead of Content
	Mode    string `json:"mode,omitempty"`    // in octal
	User    string `json:"user,omitempty"`    // whose rights it is written with, and who owns it; empty: the sandbox's own
}

// MaxMetadata is how many metadata a claim may have.
const MaxMetadata = 32

// Claim is a sandbox that was handed out.
type Claim struct {
	ID        string     `json:"id"`
	Sandbox   string     `json:"sandbox"` // the id of the containerd container
	Template  string     `json:"template"`
	Pool      string     `json:"pool"` // region:template
	Owner     string     `json:"owner"`
	RequestID string     `json:"request_id,omitempty"`
	State     ClaimState `json:"state"`
	Reason    string     `json:"reason,omitempty"`
	Source    Source     `json:"source"`
	Tier      Tier       `json:"tier"`       // older word for Source
	CreatedAt time.Time  `json:"created_at"` // when the sandbox was created
	ClaimedAt time.Time  `json:"claimed_at"`
	ExpiresAt time.Time  `json:"expires_at"` // when the daemon kills it

	Type       string            `json:"type"`                 // lifetime type
	Lifetime   lifetime.Duration `json:"lifetime"`             // from claimed_at to the first expires_at
	Warning    lifetime.Duration `json:"warning,omitempty"`    // before expires_at
	Grace      lifetime.Duration `json:"grace,omitempty"`      // before expires_at
	Stage      string            `json:"stage"`                // steady, warned or grace
	Extended   int               `json:"extended"`             // extensions used
	Extensions int               `json:"extensions"`           // extensions allowed
	Checkpoint string            `json:"checkpoint,omitempty"` // what the sandbox was restored from

	Metadata map[string]string `json:"metadata,omitempty"`
	// Given is what the claim brought along for its sandbox: "environment", or "secrets" if they must not be in checkpoints.
	Given string `json:"given,omitempty"`
	// Process is the claim's command, in the answer to POST /v1/claims alone.
	Process *Process `json:"process,omitempty"`

	// Phases are those of the start that the claim waited for; nil if it did not, or since the daemon was started again.
	Phases *Phases `json:"phases,omitempty"`
}

// Phases are how long each part of a cold start took, in milliseconds and in their order. One that goes on from a checkpoint or a
// snapshot has neither dependencies nor ready.
type Phases struct {
	Schedule     float64 `json:"schedule_ms"`     // until the sandbox was begun
	Image        float64 `json:"image_ms"`        // the image's files, and containerd's record
	Sentry       float64 `json:"sentry_ms"`       // gVisor's kernel of the sandbox
	UserSpace    float64 `json:"user_space_ms"`   // until a first process ran in it
	Dependencies float64 `json:"dependencies_ms"` // prewarm commands
	Ready        float64 `json:"ready_ms"`        // readiness checks
}

// ClaimList is the body of GET /v1/claims.
type ClaimList struct {
	Claims []Claim `json:"claims"`
}

// ExtendRequest is the body of POST /v1/claims/{id}/extend.
type ExtendRequest struct {
	// By is how far the end is put off, at most half of the claim's lifetime; nil means that half.
	By *lifetime.Duration `json:"by,omitempty"`
}

// CheckpointRequest is the body of POST /v1/claims/{id}/checkpoint.
type CheckpointRequest struct {
	// Stop ends the claim once the checkpoint is on disk. Nothing of the sandbox runs after the moment that was saved.
	Stop bool `json:"stop,omitempty"`
	// Comment is the caller's own note, at most 256 bytes.
	Comment string `json:"comment,omitempty"`
}

// Checkpoint is a saved moment of a sandbox.
type Checkpoint struct {
	ID          string    `json:"id"`
	CreatedAt   time.Time `json:"created_at"`
	Claim       string    `json:"claim"`    // that it was taken of
	Sandbox     string    `json:"sandbox"`  // that it was taken of
	Template    string    `json:"template"` // of the sandbox's pool
	Owner       string    `json:"owner"`    // uid:N
	Trigger     string    `json:"trigger"`  // request, expiry, idle, fork or template
	Comment     string    `json:"comment,omitempty"`
	Parent      string    `json:"parent,omitempty"` // checkpoint that the sandbox itself was restored from
	Bytes       int64     `json:"bytes"`
	Runsc       string    `json:"runsc"` // what it can be restored with
	Platform    string    `json:"platform"`
	Image       string    `json:"image"`
	ImageDigest string    `json:"image_digest"`
}

// CheckpointList is the body of GET /v1/checkpoints.
type CheckpointList struct {
	Checkpoints []Checkpoint `json:"checkpoints"`
}

// ForkRequest is the body of POST /v1/claims/{id}/fork.
type ForkRequest struct {
	// Count is how many claims are to go on from this moment, 1 to MaxForks; 0 means 1.
	Count int `json:"count,omitempty"`
	// Type and Lifetime are as in a ClaimRequest.
	Type     string             `json:"type,omitempty"`
	Lifetime *lifetime.Duration `json:"lifetime,omitempty"`
	// Wait is how long the forks may take to start; nil means the daemon's default.
	Wait *lifetime.Duration `json:"wait,omitempty"`
}

// MaxForks is how many forks one request may ask for.
const MaxForks = 64

// Event is one thing that happened to a claim. GET /v1/events answers with one JSON value a line.
type Event struct {
	Cursor  string            `json:"cursor"` // of this event; ?after=CURSOR goes on behind it
	Time    time.Time         `json:"time"`
	Kind    string            `json:"kind"`
	Claim   string            `json:"claim,omitempty"`
	Sandbox string            `json:"sandbox,omitempty"`
	Pool    string            `json:"pool,omitempty"`
	Owner   string            `json:"owner,omitempty"`
	Message string            `json:"message,omitempty"` // for people
	Detail  map[string]string `json:"detail,omitempty"`  // for programs: time_left, actions, checkpoint, reason, …
}

// TemplateState is how far a template is.
type TemplateState string

const (
	// TemplateReady is a template that sandboxes can be started from.
	TemplateReady TemplateState = "ready"
	// TemplatePreparing is one that is being made ready; what was ready before is used meanwhile.
	TemplatePreparing TemplateState = "preparing"
	// TemplateFailed is one that could not be made ready and is tried again; what was ready before is used meanwhile.
	TemplateFailed TemplateState = "failed"
)

// Template is what sandboxes of one kind are made from. Of a limit 0 means none.
type Template struct {
	Name      string        `json:"name"`
	Image     string        `json:"image"`
	Digest    string        `json:"digest,omitempty"` // of the image in use
	Pool      string        `json:"pool"`             // region:template
	State     TemplateState `json:"state"`
	Reason    string        `json:"reason,omitempty"`   // why it is failed
	Snapshot  string        `json:"snapshot,omitempty"` // the checkpoint that its sandboxes go on from
	Platform  string        `json:"platform,omitempty"` // of gVisor, unless it is the daemon's
	CPUs      float64       `json:"cpus"`
	MemoryMiB int           `json:"memory_mib"`
	DiskMiB   int           `json:"disk_mib"`
	PIDs      int           `json:"pids"`
}

// TemplateList is the body of GET /v1/templates.
type TemplateList struct {
	Templates []Template `json:"templates"`
}

// TemplateCheck is what came of a trial of a template: the steps that were taken. If one failed it is the last.
type TemplateCheck struct {
	Steps []TemplateStep `json:"steps"`
}

// TemplateStep is one step of a trial.
type TemplateStep struct {
	Step   string  `json:"step"` // image, settings, create, start, probe, prewarm or ready
	OK     bool    `json:"ok"`
	TookMS float64 `json:"took_ms,omitempty"` // of a step that succeeded
	Detail string  `json:"detail,omitempty"`  // why it failed, and what to do
}

// ImageWaiting is the state of an image before the turn of its template; the others are resolving, pulling, importing, unpacking, and
// in the end ready or failed.
const ImageWaiting = "waiting"

// The states that an image stays in.
const (
	ImageReady  = "ready"
	ImageFailed = "failed"
)

// Image is the image of one or more templates. While it is fetched Digest is the one to come.
type Image struct {
	Image       string     `json:"image"` // as the templates name it
	Digest      string     `json:"digest,omitempty"`
	State       string     `json:"state"`
	Templates   []string   `json:"templates"`
	Layers      int        `json:"layers"`
	LayersTotal int        `json:"layers_total"`
	Bytes       int64      `json:"bytes"`
	BytesTotal  int64      `json:"bytes_total"`
	Error       string     `json:"error,omitempty"`
	Since       *time.Time `json:"since,omitempty"`
}

// ImageList is the body of GET /v1/images.
type ImageList struct {
	Images []Image `json:"images"`
}

// Canary is what became of one platform's trial at start.
type Canary struct {
	Platform string `json:"platform"`
	OK       bool   `json:"ok"`
	Reason   string `json:"reason,omitempty"`
}

// Info is the body of GET /v1/info.
type Info struct {
	Version    string    `json:"version"`
	PID        int       `json:"pid"`
	StartedAt  time.Time `json:"started_at"`
	Region     string    `json:"region"`
	Containerd string    `json:"containerd"` // version
	Namespace  string    `json:"namespace"`
	Runsc      string    `json:"runsc"` // version
	Shim       string    `json:"shim"`  // containerd's name of it, or its path
	Platform   string    `json:"platform"`
	Canaries   []Canary  `json:"canaries"`
	Warnings   []string  `json:"warnings,omitempty"`
	Promised   Promised  `json:"promised"`
}

// Promised is what all sandboxes may use by their limits, in MiB, beside what the host has of it.
type Promised struct {
	MemoryMiB     uint64 `json:"memory_mib"`
	HostMemoryMiB uint64 `json:"host_memory_mib"`
	DiskMiB       uint64 `json:"disk_mib"`
	HostDiskMiB   uint64 `json:"host_disk_mib"`
}

// ExecRequest is the body of POST /v1/claims/{id}/exec, which upgrades the connection to frames.
type ExecRequest struct {
	Args []string `json:"args"`
	Env  []string `json:"env,omitempty"` // KEY=VALUE, added to the image's
	Cwd  string   `json:"cwd,omitempty"`
	TTY  bool     `json:"tty,omitempty"`
	Rows uint16   `json:"rows,omitempty"` // with TTY
	Cols uint16   `json:"cols,omitempty"` // with TTY
	// User is a name or number of the sandbox, with a group of the same kinds behind a colon if one is wanted; empty means the sandbox's own.
	User string `json:"user,omitempty"`
	// Timeout is when all of the command's session is killed; nil means never. Its exit code is 124 then.
	Timeout *lifetime.Duration `json:"timeout,omitempty"`
	// Rlimits are limits of setrlimit(2) for the command and what it starts: SOFT or SOFT:HARD, -1 for unlimited, by their names without RLIMIT_.
	Rlimits map[string]string `json:"rlimits,omitempty"`
}

// Error is the body of every answer that is not a success.
type Error struct {
	Status  int    `json:"status"` // the HTTP status
	Code    string `json:"code"`   // stable, for programs
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }
