package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"sandpool/daemon/client"
)

func (a *app) forwardCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "forward ID [LOCAL:]PORT...",
		Short: "Reach TCP ports inside a claimed sandbox from this host",
		Long: "Listen on ports of 127.0.0.1 and carry what connects there to ports inside a claimed sandbox, on its own loopback. The sandbox needs no\n" +
			"network for that. LOCAL is the port to listen on, PORT itself if it is not given, and with 0 any that is free. It runs until it is\n" +
			"interrupted or the claim ends.",
		Args: needs(many, whichClaim, "which port? The sandbox's, or LOCAL:PORT"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeClaims(cmd, args, word)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.forward(cmd.Context(), args[0], args[1:]) },
	}
}

func (a *app) forward(ctx context.Context, id string, specs []string) error {
	if _, err := a.daemon.Get(ctx, id); err != nil {
		return err
	}
	ended, end := context.WithCancelCause(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer end(nil)
	for _, spec := range specs {
		local, port, err := parseForward(spec)
		if err != nil {
			return err
		}
		listener, err := new(net.ListenConfig).Listen(ended, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(local)))
		if err != nil {
			return fmt.Errorf("forward to port %d: %w", port, err)
		}
		context.AfterFunc(ended, func() { _ = listener.Close() })
		if _, err := fmt.Fprintf(a.out, "%s is port %d of %s\n", listener.Addr(), port, id); err != nil {
			return printed(err)
		}
		serve := func(conn net.Conn) error { return a.daemon.Forward(ended, id, port, conn, conn) }
		all.Go(func() { a.accept(ended, end, listener, serve) })
	}
	<-ended.Done()
	if context.Cause(ctx) != nil {
		return nil
	}
	return context.Cause(ended)
}

// parseForward takes [LOCAL:]PORT apart.
func parseForward(spec string) (local, port int, err error) {
	from, to, two := strings.Cut(spec, ":")
	if !two {
		to = from
	}
	l, errLocal := strconv.ParseUint(from, 10, 16)
	p, errPort := strconv.ParseUint(to, 10, 16)
	if errLocal != nil || errPort != nil || p == 0 {
		return 0, 0, usageError{fmt.Errorf("%q: want [LOCAL:]PORT, each at most 65535", spec)}
	}
	return int(l), int(p), nil
}

// accept serves the connections of a listener until ctx ends, and ends it when the listener or the claim does.
func (a *app) accept(ctx context.Context, end context.CancelCauseFunc, listener net.Listener, serve func(net.Conn) error) {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			end(err)
			return
		}
		all.Go(func() {
			defer func() { _ = conn.Close() }()
			err := serve(conn)
			if client.IsNotFound(err) {
				end(err)
			} else if err != nil && context.Cause(ctx) == nil {
				a.complain(err, exitError)
			}
		})
	}
}
