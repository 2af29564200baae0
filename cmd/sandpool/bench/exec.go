package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"time"

	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// Execs times the ways of a short command into a sandbox, and questions about one that runs.
type Execs struct {
	Daemon   *client.Client
	Template string
	Rounds   int
	Ctr      string // containerd's client, a program; empty: it is not timed
	Address  string // of containerd's socket, for that
}

// Check tells what is wrong with what is asked for.
func (e Execs) Check() error {
	if e.Rounds < 1 {
		return errors.New("want a number of rounds of at least 1")
	}
	return nil
}

// ExecsReport is what was measured. Times are in milliseconds.
type ExecsReport struct {
	Rows    []ExecRow `json:"rows"`
	Ratio   float64   `json:"process_1_to_sentry_percent"` // p50 to p50
	Machine Machine   `json:"machine"`
}

// ExecRow sums up the samples of one way.
type ExecRow struct {
	Row

	Means string `json:"means"`
}

// way is something that is timed.
type way struct {
	name, means string
	do          func(ctx context.Context) error
}

// The ways that are compared.
const (
	waySentry = "true, by the sentry"
	wayInit   = "true, by process 1"
)

// Run claims a sandbox, measures in rounds, each way once in each, and releases it. A first round, in which connections are opened, does not count.
func (e Execs) Run(ctx context.Context) (report ExecsReport, err error) {
	info, err := e.Daemon.Info(ctx)
	if err != nil {
		return ExecsReport{}, err
	}
	report.Machine = thisMachine(info)
	claim, err := e.Daemon.Claim(ctx, wire.ClaimRequest{Template: e.Template})
	if err != nil {
		return ExecsReport{}, fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, Bench{Daemon: e.Daemon}.release(ctx, claim.ID)) }()
	asked, err := e.Daemon.StartProcess(ctx, claim.ID, wire.ProcessRequest{ExecRequest: wire.ExecRequest{Args: []string{"cat"}}, Input: true})
	if err != nil {
		return ExecsReport{}, fmt.Errorf("bench: %w", err)
	}
	ways := append(e.commands(info.Namespace, claim), e.questions(claim.ID, asked.PID)...)
	times, err := e.measure(ctx, ways)
	if err != nil {
		return ExecsReport{}, fmt.Errorf("bench: %w", err)
	}
	p50 := map[string]float64{}
	for i, w := range ways {
		row := newRow(w.name, times[i])
		report.Rows = append(report.Rows, ExecRow{row, w.means})
		p50[w.name] = row.P50
	}
	report.Ratio = 100 * p50[wayInit] / p50[waySentry]
	return report, nil
}

// measure returns the times of each way.
func (e Execs) measure(ctx context.Context, ways []way) ([][]time.Duration, error) {
	times := make([][]time.Duration, len(ways))
	for round := range e.Rounds + 1 {
		for _, at := range rand.Perm(len(ways)) { //nolint:gosec // so that none is always timed in what another leaves behind
			began := time.Now()
			if err := ways[at].do(ctx); err != nil {
				return nil, fmt.Errorf("%s: %w", ways[at].name, err)
			}
			if round > 0 {
				times[at] = append(times[at], time.Since(began))
			}
		}
	}
	return times, nil
}

// commands are the ways of a short command.
func (e Execs) commands(namespace string, claim wire.Claim) []way {
	long := lifetime.Duration(time.Hour)
	run := func(req wire.ExecRequest) func(context.Context) error {
		req.Args = []string{"true"}
		return func(ctx context.Context) error {
			code, err := e.Daemon.Exec(ctx, claim.ID, req, client.Stdio{Out: io.Discard, Err: io.Discard})
			if err == nil && code != 0 {
				err = fmt.Errorf("exit code %d", code)
			}
			return err
		}
	}
	ways := []way{
		{waySentry, "exec ID -- true: the daemon asks the sentry", run(wire.ExecRequest{})},
		{wayInit, "exec --timeout 1h ID -- true: the daemon asks process 1", run(wire.ExecRequest{Timeout: &long})},
		{"terminal, by process 1", "exec -t ID -- true: the same with a terminal", run(wire.ExecRequest{TTY: true})},
	}
	if e.Ctr == "" {
		return ways
	}
	count := 0
	return append(ways,
		way{"true, by ctr", "ctr tasks exec: the shim starts runsc, without this daemon; with the start of ctr itself", func(ctx context.Context) error {
			count++
			return e.ctr(ctx, "--address", e.Address, "--namespace", namespace, "tasks", "exec", "--exec-id", fmt.Sprintf("bench-%d", count), claim.Sandbox, "true")
		}},
		way{"ctr alone", "ctr --version: the start of ctr that is part of the row above", func(ctx context.Context) error { return e.ctr(ctx, "--version") }})
}

func (e Execs) ctr(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, e.Ctr, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", e.Ctr, err, bytes.TrimSpace(out))
	}
	return nil
}

// questions are requests about a process that runs and takes input.
func (e Execs) questions(id string, pid int) []way {
	var since int64
	return []way{
		{"input of a process", "POST …/processes/PID/input: process 1 has written it", func(ctx context.Context) error {
			return e.Daemon.FeedProcess(ctx, id, pid, []byte("x\n"))
		}},
		{"output of a process", "GET …/processes/PID/output: what it wrote since the last time", func(ctx context.Context) (err error) {
			since, _, err = e.Daemon.ProcessOutput(ctx, id, pid, since, false, func(wire.ProcessOutput) error { return nil })
			return err
		}},
		{"state of a process", "GET …/processes/PID: process 1 looks at it", func(ctx context.Context) error {
			_, err := e.Daemon.Process(ctx, id, pid)
			return err
		}},
		{"state of a claim", "GET /v1/claims/ID: the daemon alone", func(ctx context.Context) error {
			_, err := e.Daemon.Get(ctx, id)
			return err
		}},
	}
}

// Write writes the report for people.
func (r ExecsReport) Write(w io.Writer, s table.Screen) error {
	t := table.New(table.Column{Name: "WAY"}, number("N", 1), number("P50 MS", 0), percentiles("P90 MS", 2), percentiles("P99 MS", 3))
	means := []table.Pair{{}, {Name: "WAY", Value: "WHAT IS TIMED"}}
	for _, row := range r.Rows {
		t.Row(row.Kind, row.N, row.cell(50, row.P50), row.cell(90, row.P90), row.cell(99, row.P99))
		means = append(means, table.Pair{Name: row.Kind, Value: row.Means})
	}
	return errors.Join(write(w, s, t), table.WritePairs(w, s.Width, append(means, table.Pair{})), write(w, s, nil,
		fmt.Sprintf("true by process 1 is %.0f %% of true by the sentry at p50; each row is from call to reply, the client's work with it", r.Ratio), r.Machine.String()))
}
