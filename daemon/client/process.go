package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"syscall"

	"sandpool/daemon/wire"
)

func processesPath(id string) string { return claimPath(id) + "/processes" }

func processPath(id string, pid int) string { return processesPath(id) + "/" + strconv.Itoa(pid) }

// StartProcess starts a command in a claim's sandbox that outlives this call and its connection.
func (c *Client) StartProcess(ctx context.Context, id string, req wire.ProcessRequest) (wire.Process, error) {
	if err := checkText(req.ExecRequest); err != nil {
		return wire.Process{}, err
	}
	var p wire.Process
	return p, c.call(ctx, http.MethodPost, processesPath(id), req, &p)
}

// Processes lists the processes of a claim's sandbox.
func (c *Client) Processes(ctx context.Context, id string) ([]wire.Process, error) {
	var list wire.ProcessList
	return list.Processes, c.call(ctx, http.MethodGet, processesPath(id), nil, &list)
}

// Process returns a process that StartProcess started, also for a while after its end.
func (c *Client) Process(ctx context.Context, id string, pid int) (wire.Process, error) {
	var p wire.Process
	return p, c.call(ctx, http.MethodGet, processPath(id, pid), nil, &p)
}

// SignalProcess signals the group of a process that StartProcess started, with SIGKILL all of its session, or any other process alone.
func (c *Client) SignalProcess(ctx context.Context, id string, pid int, signal syscall.Signal) error {
	return c.call(ctx, http.MethodPost, processPath(id, pid)+"/signal", wire.SignalRequest{Signal: int(signal)}, nil)
}

// ResizeProcess tells a process how large its terminal is.
func (c *Client) ResizeProcess(ctx context.Context, id string, pid int, rows, cols uint16) error {
	return c.call(ctx, http.MethodPost, processPath(id, pid)+"/resize", wire.ResizeRequest{Rows: rows, Cols: cols}, nil)
}

// FeedProcess gives a process input, at most wire.MaxBody bytes; none ends its input.
func (c *Client) FeedProcess(ctx context.Context, id string, pid int, data []byte) error {
	return c.call(ctx, http.MethodPost, processPath(id, pid)+"/input", data, nil)
}

// ProcessOutput calls each for what a process wrote from a position on, oldest first; with follow it goes on until the process's end. It
// returns where the next call goes on, also with an error, and the process, nil unless the answer was whole. An error of each ends it and is
// returned as it is.
func (c *Client) ProcessOutput(ctx context.Context, id string, pid int, since int64, follow bool, each func(wire.ProcessOutput) error) (int64, *wire.Process, error) {
	query := url.Values{"since": {strconv.FormatInt(since, 10)}, "follow": {strconv.FormatBool(follow)}}
	resp, err := c.ask(ctx, http.MethodGet, processPath(id, pid)+"/output?"+query.Encode(), nil)
	if err != nil {
		return since, nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	var ended *wire.Process
	err = readLines(resp, func(line wire.ProcessOutput) error {
		switch {
		case line.Error != nil:
			return line.Error
		case line.Process != nil:
			ended = line.Process
			return nil
		}
		err := each(line)
		if err == nil {
			since = line.Position + int64(len(line.Data))
		}
		return err
	})
	if err == nil && ended == nil {
		err = callError(resp.Request, io.ErrUnexpectedEOF)
	}
	return since, ended, err
}

// Attach carries the output of a process from a position on, and input to it, until it ends, and returns its exit code. When ctx ends the
// process goes on. What Exec says of reads and writes that are under way holds here, too.
func (c *Client) Attach(ctx context.Context, id string, pid int, since int64, stdio Stdio) (exit int, err error) {
	return c.converse(ctx, fmt.Sprintf("%s/attach?since=%d", processPath(id, pid), since), nil, stdio)
}
