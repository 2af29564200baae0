package wire

import "time"

// ProcessRequest is the body of POST /v1/claims/{id}/processes: a command that outlives the request, as the leader of a session of its own.
type ProcessRequest struct {
	ExecRequest
	// Input keeps the process's input open for what is sent to it; else it has none.
	Input bool `json:"input,omitempty"`
}

// Process is a process of a claim's sandbox.
type Process struct {
	PID         int        `json:"pid"` // in the sandbox
	Args        []string   `json:"args"`
	User        string     `json:"user,omitempty"`  // a number
	State       string     `json:"state"`           // of the kernel, one letter as ps has it; "ended"
	Supervised  bool       `json:"supervised"`      // it was started by this API, which keeps its output
	TTY         bool       `json:"tty,omitempty"`   // it has a terminal
	Input       bool       `json:"input,omitempty"` // it can be given input
	StartedAt   time.Time  `json:"started_at"`
	EndedAt     *time.Time `json:"ended_at,omitempty"`
	ExitCode    *int       `json:"exit_code,omitempty"` // once it has ended: 128 and the signal's number if one ended it
	TimedOut    bool       `json:"timed_out,omitempty"`
	CPUMS       float64    `json:"cpu_ms"`
	MemoryBytes int64      `json:"memory_bytes"`           // resident
	OutputFirst int64      `json:"output_first,omitempty"` // the position of the oldest output that is kept
	OutputNext  int64      `json:"output_next,omitempty"`  // the position of what it writes next
}

// ProcessList is the body of GET /v1/claims/{id}/processes.
type ProcessList struct {
	Processes []Process `json:"processes"`
}

// OutputStream says where a process wrote.
type OutputStream string

const (
	// OutputStdout is standard output.
	OutputStdout OutputStream = "stdout"
	// OutputStderr is standard error.
	OutputStderr OutputStream = "stderr"
	// OutputTerminal is the one stream of a process with a terminal.
	OutputTerminal OutputStream = "terminal"
)

// ProcessOutput is one line of GET /v1/claims/{id}/processes/{pid}/output. A position is how many bytes the process had written before, to
// all of its streams.
type ProcessOutput struct {
	Position int64        `json:"position"`
	Stream   OutputStream `json:"stream,omitempty"`
	Data     []byte       `json:"data,omitempty"`    // in base64
	Dropped  int64        `json:"dropped,omitempty"` // bytes right before Position that are kept no more
	// Process is the process as it is at the end of the answer, in the last line alone.
	Process *Process `json:"process,omitempty"`
	// Error is why the answer ends early, in the last line alone.
	Error *Error `json:"error,omitempty"`
}

// SignalRequest is the body of POST /v1/claims/{id}/processes/{pid}/signal. The signal goes to the process's group, and 9 to all of its session.
type SignalRequest struct {
	Signal int `json:"signal"`
}

// ResizeRequest is the body of POST /v1/claims/{id}/processes/{pid}/resize.
type ResizeRequest struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}
