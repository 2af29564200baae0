package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"sandpool/runtime/egress"
)

// say says texts and prints what comes back. They go to HOST:PORT, to the proxy if that is empty, or by the proxy to connect:HOST:PORT.
func say(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("want where to say it")
	}
	var g errgroup.Group
	g.SetLimit(16)
	for _, arg := range args[1:] {
		text, err := strconv.Unquote(arg)
		if err != nil {
			return fmt.Errorf("%.80s: %w", arg, err)
		}
		g.Go(func() error { return sayOne(ctx, args[0], text) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	fmt.Println("said all")
	return nil
}

// sayOne says one text. That nobody hears it, or that the connection breaks, is as good an answer as any.
func sayOne(ctx context.Context, to, text string) error {
	by, target := to, ""
	if rest, ok := strings.CutPrefix(to, "connect:"); ok {
		by, target = "", rest
	}
	if by == "" {
		by = egress.ProxyAddress
	}
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", by)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // all was read
	_ = conn.SetDeadline(time.Now().Add(patience))
	if target != "" && tunnel(conn, target) != nil {
		return nil
	}
	go func() {
		_, _ = io.WriteString(conn, text)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(os.Stdout, conn)
	return nil
}
