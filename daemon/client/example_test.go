package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// A claim has a sandbox from now until it is released or its time is over.
func ExampleClient_Claim() {
	ctx := context.Background()
	c := &client.Client{Socket: socket()} // &client.Client{} uses the default socket
	defer c.Close()

	claim, err := c.Claim(ctx, wire.ClaimRequest{
		Lifetime: new(lifetime.Duration(10 * time.Minute)),
		Metadata: map[string]string{"job": "17"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(claim.State, "for", claim.ExpiresAt.Sub(claim.ClaimedAt))

	mine, err := c.List(ctx, "job=17")
	fmt.Println(len(mine), "claim of the job", err)

	err = c.Release(ctx, claim.ID)
	fmt.Println("released", err)

	_, err = c.Get(ctx, claim.ID)
	if answer, ok := errors.AsType[*wire.Error](err); ok {
		fmt.Println(answer.Code)
	}
	// Output:
	// running for 10m0s
	// 1 claim of the job <nil>
	// released <nil>
	// not_found
}

// A command of Exec has its client's input and output, and ends with it.
func ExampleClient_Exec() {
	ctx := context.Background()
	c := &client.Client{Socket: socket()}
	defer c.Close()
	claim, err := c.Claim(ctx, wire.ClaimRequest{Env: []string{"NAME=world"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Release(ctx, claim.ID) //nolint:errcheck // the claim's time is over some day

	code, err := c.Exec(ctx, claim.ID, wire.ExecRequest{
		Args:    []string{"sh", "-c", `echo "hello, $NAME"; tr a-z A-Z; exit 3`},
		Timeout: new(lifetime.Duration(time.Minute)),
	}, client.Stdio{In: strings.NewReader("input\n"), Out: os.Stdout, Err: os.Stderr})
	fmt.Println("exit code", code, err)
	// Output:
	// hello, world
	// INPUT
	// exit code 3 <nil>
}

// A process outlives its client and the daemon, and its output can be read from any position that is kept.
func ExampleClient_StartProcess() {
	ctx := context.Background()
	c := &client.Client{Socket: socket()}
	defer c.Close()
	claim, err := c.Claim(ctx, wire.ClaimRequest{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Release(ctx, claim.ID) //nolint:errcheck // the claim's time is over some day

	process, err := c.StartProcess(ctx, claim.ID, wire.ProcessRequest{
		ExecRequest: wire.ExecRequest{Args: []string{"sh", "-c", `read name; echo "hello, $name"; exit 3`}},
		Input:       true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := c.FeedProcess(ctx, claim.ID, process.PID, []byte("world\n")); err != nil {
		fmt.Println(err)
		return
	}
	position, ended, err := c.ProcessOutput(ctx, claim.ID, process.PID, 0, true, func(o wire.ProcessOutput) error {
		_, err := os.Stdout.Write(o.Data)
		return err
	})
	if err != nil {
		fmt.Println("go on from", position, "after", err)
		return
	}
	fmt.Println("exit code", *ended.ExitCode, "after", position, "bytes")
	// Output:
	// hello, world
	// exit code 3 after 13 bytes
}

// Files go in and out whole or not at all, with the rights of a user of the sandbox.
func ExampleClient_Files() {
	ctx := context.Background()
	c := &client.Client{Socket: socket()}
	defer c.Close()
	claim, err := c.Claim(ctx, wire.ClaimRequest{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Release(ctx, claim.ID) //nolint:errcheck // the claim's time is over some day

	files := c.Files(claim.ID)
	if _, err := files.Mkdir(ctx, "/srv/app/src", 0o755, true); err != nil {
		fmt.Println(err)
		return
	}
	written, err := files.Write(ctx, "/srv/app/src/note.txt", strings.NewReader("remember\n"), client.WriteOptions{Mode: new(uint32(0o600))})
	fmt.Println(written.Path, written.Mode, written.Size, err)

	err = files.List(ctx, "/srv/app", 2, func(f wire.File) error {
		fmt.Println(f.Kind, f.Path)
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	content, _, err := files.Read(ctx, "/srv/app/src/note.txt", 0, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer content.Close() //nolint:errcheck // it is only read
	text, err := io.ReadAll(content)
	fmt.Printf("%q %v\n", text, err)
	// Output:
	// /srv/app/src/note.txt 0600 9 <nil>
	// folder src
	// file src/note.txt
	// "remember\n" <nil>
}

// A checkpoint is a moment to come back to, and forks go on from the present one.
func ExampleClient_Checkpoint() {
	ctx := context.Background()
	c := &client.Client{Socket: socket()}
	defer c.Close()
	claim, err := c.Claim(ctx, wire.ClaimRequest{Files: []wire.ClaimFile{{Path: "/tmp/step", Text: "first"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Release(ctx, claim.ID) //nolint:errcheck // the claim's time is over some day

	saved, err := c.Checkpoint(ctx, claim.ID, wire.CheckpointRequest{Comment: "before the second step"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.DeleteCheckpoint(ctx, saved.ID) //nolint:errcheck // it is deleted for its age some day
	if _, err := c.Files(claim.ID).Write(ctx, "/tmp/step", strings.NewReader("second"), client.WriteOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	copies, err := c.Fork(ctx, claim.ID, wire.ForkRequest{Count: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	back, err := c.Claim(ctx, wire.ClaimRequest{Checkpoint: saved.ID})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, copied := range append(copies, back) {
		code, err := c.Exec(ctx, copied.ID, wire.ExecRequest{Args: []string{"cat", "/tmp/step"}}, client.Stdio{Out: os.Stdout})
		fmt.Println("", copied.Tier, code, err)
		if err := c.Release(ctx, copied.ID); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// second restored 0 <nil>
	// first restored 0 <nil>
}

// Events tell what happened to claims. Who follows them goes on from the last cursor after a broken connection.
func ExampleClient_Events() {
	ctx := context.Background()
	c := &client.Client{Socket: socket()}
	defer c.Close()
	claim, err := c.Claim(ctx, wire.ClaimRequest{})
	if err == nil {
		err = c.Release(ctx, claim.ID)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	enough := errors.New("enough")
	cursor, err := c.Events(ctx, "", claim.ID, true, func(e wire.Event) error {
		fmt.Println(e.Kind)
		if e.Kind == "released" {
			return enough
		}
		return nil
	})
	fmt.Println(cursor != "", errors.Is(err, enough))
	// Output:
	// claimed
	// released
	// true true
}
