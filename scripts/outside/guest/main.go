// Command guest is what tests of the network run in sandboxes beside programs of others: a client written in Go, and one that is hostile.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// patience is how long one answer may take on a slow machine.
const patience = time.Minute

var parts = map[string]func(ctx context.Context, args []string) error{
	"fetch": fetch, // URL: print a page
	"reach": reach, // PORT ADDRESS...: try to reach addresses without the door
	"proxy": proxy, // HOST:PORT...: ask the proxy for them
	"raw":   raw,   // send the input to the proxy
	"say":   say,   // TO TEXT...: say each text, as Go writes it, by a connection of its own
	"front": front, // HOST:PORT NAME: say another name in TLS
	"many":  many,  // HOST:PORT N WIDTH: connect that often, so many at once, and count
	"leave": leave, // HOST:PORT N: open so many connections, say little and leave them
	"ask":   ask,   // udp or tcp, N: ask for names that there are not
}

func main() {
	flag.Parse()
	do := parts[flag.Arg(0)]
	if do == nil {
		fmt.Fprintln(os.Stderr, "guest: want a part and its arguments")
		os.Exit(2)
	}
	if err := do(context.Background(), flag.Args()[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(1)
	}
}

func fetch(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("want a URL")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: patience}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}
