package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// benchFile is the file that is written and read, in the folder that the sandbox's commands work in.
const benchFile = ".sandpool-bench"

// Files times a file that goes into a sandbox and comes out, beside the same bytes through a command's input and output.
type Files struct {
	Daemon   *client.Client
	Template string
	MiB      int64
	Rounds   int
}

// Check tells what is wrong with what is asked for.
func (f Files) Check() error {
	if f.MiB < 1 || f.Rounds < 1 {
		return errors.New("want a size and a number of rounds of at least 1")
	}
	return nil
}

// FilesReport is what was measured.
type FilesReport struct {
	MiB     int64     `json:"mib"`
	Rows    []FileRow `json:"rows"`
	Machine Machine   `json:"machine"`
}

// FileRow is one way of a file, in medians of all rounds.
type FileRow struct {
	Way     string  `json:"way"`
	File    float64 `json:"file_mb_per_s"`
	Pipe    float64 `json:"pipe_mb_per_s"`
	PerCent float64 `json:"file_of_pipe_per_cent"`
}

// Run claims a sandbox, measures in rounds, each way once in each, and releases it.
func (f Files) Run(ctx context.Context) (report FilesReport, err error) {
	info, err := f.Daemon.Info(ctx)
	if err != nil {
		return FilesReport{}, err
	}
	report = FilesReport{MiB: f.MiB, Machine: thisMachine(info)}
	claim, err := f.Daemon.Claim(ctx, wire.ClaimRequest{Template: f.Template})
	if err != nil {
		return FilesReport{}, fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, f.Daemon.Release(context.WithoutCancel(ctx), claim.ID)) }()
	ways := []func(context.Context, string) error{f.fileIn, f.pipeIn, f.fileOut, f.pipeOut}
	rates := make([][]float64, len(ways))
	for range f.Rounds {
		for i, way := range ways {
			began := time.Now()
			if err := way(ctx, claim.ID); err != nil {
				return FilesReport{}, fmt.Errorf("bench: %w", err)
			}
			rates[i] = append(rates[i], float64(f.bytes())/1e6/time.Since(began).Seconds())
		}
	}
	for i, name := range []string{"in", "out"} {
		slices.Sort(rates[2*i])
		slices.Sort(rates[2*i+1])
		file, pipe := percentile(rates[2*i], 50), percentile(rates[2*i+1], 50)
		report.Rows = append(report.Rows, FileRow{name, file, pipe, 100 * file / pipe})
	}
	return report, nil
}

func (f Files) bytes() int64 { return f.MiB << 20 }

func (f Files) fileIn(ctx context.Context, id string) error {
	_, err := f.Daemon.Files(id).Write(ctx, benchFile, f.content(), client.WriteOptions{Size: f.bytes()})
	return err
}

// content is as much as is sent, of bytes that are not zero, so that nothing makes holes of them.
func (f Files) content() io.Reader { return io.LimitReader(ones{}, f.bytes()) }

type ones struct{}

func (ones) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '1'
	}
	return len(b), nil
}

func (f Files) fileOut(ctx context.Context, id string) error {
	content, _, err := f.Daemon.Files(id).Read(ctx, benchFile, 0, "")
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, content)
	if err == nil && n != f.bytes() {
		err = fmt.Errorf("%d bytes came of %d", n, f.bytes())
	}
	return errors.Join(err, content.Close())
}

func (f Files) pipeIn(ctx context.Context, id string) error {
	return f.exec(ctx, id, client.Stdio{In: f.content()}, "dd", "of=/dev/null", "bs=256k")
}

func (f Files) pipeOut(ctx context.Context, id string) error {
	return f.exec(ctx, id, client.Stdio{Out: io.Discard}, "dd", "if=/dev/zero", "bs=1M", fmt.Sprintf("count=%d", f.MiB))
}

func (f Files) exec(ctx context.Context, id string, stdio client.Stdio, args ...string) error {
	code, err := f.Daemon.Exec(ctx, id, wire.ExecRequest{Args: args}, stdio)
	if err == nil && code != 0 {
		err = fmt.Errorf("%q ended with exit code %d", args, code)
	}
	return err
}

// Write writes the report for people.
func (r FilesReport) Write(w io.Writer, s table.Screen) error {
	t := table.New(table.Column{Name: "WAY"}, number("FILE MB/S", 0), number("PIPE MB/S", 0), number("FILE OF PIPE", 0))
	for _, row := range r.Rows {
		t.Row(row.Way, fmt.Sprintf("%.0f", row.File), fmt.Sprintf("%.0f", row.Pipe), fmt.Sprintf("%.0f %%", row.PerCent))
	}
	return write(w, s, t, fmt.Sprintf("%d MiB; %s", r.MiB, r.Machine))
}
