package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sync/errgroup"
)

// number reads an argument.
func number(args []string, at int) (int, error) {
	if at >= len(args) {
		return 0, errors.New("want a number")
	}
	return strconv.Atoi(args[at])
}

// many connects again and again to an echo, and prints how often it answered and how often it did not.
func many(ctx context.Context, args []string) error {
	total, err := number(args, 1)
	if err != nil {
		return err
	}
	width, err := number(args, 2)
	if err != nil {
		return err
	}
	var served, failed atomic.Int64
	var why sync.Map
	var g errgroup.Group
	g.SetLimit(width)
	for range total {
		g.Go(func() error {
			if err := echoed(ctx, args[0]); err != nil {
				why.Store(err.Error(), true)
				failed.Add(1)
			} else {
				served.Add(1)
			}
			return nil
		})
	}
	_ = g.Wait() // all failures were counted
	fmt.Printf("served %d failed %d\n", served.Load(), failed.Load())
	shown := 0
	why.Range(func(reason, _ any) bool {
		fmt.Fprintln(os.Stderr, reason)
		shown++
		return shown < 5
	})
	return nil
}

func echoed(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // all was read
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "said"); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, 4))
	return err
}

// leave opens connections, says one byte by each, reads nothing, and keeps them until its own input ends.
func leave(ctx context.Context, args []string) error {
	total, err := number(args, 1)
	if err != nil {
		return err
	}
	open := 0
	for range total {
		conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", args[0])
		if err != nil {
			continue
		}
		defer conn.Close() //nolint:errcheck // as it is left
		if _, err := conn.Write([]byte{0x16}); err == nil {
			open++
		}
	}
	fmt.Printf("open %d\n", open)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// ask asks the sandbox's own DNS server for names that there are not, as fast as it can, and prints how many were denied.
func ask(ctx context.Context, args []string) error {
	total, err := number(args, 1)
	if err != nil {
		return err
	}
	var denied, lost int
	var conn net.Conn
	for i := range total {
		if conn == nil {
			if conn, err = (&net.Dialer{Timeout: patience}).DialContext(ctx, args[0], "127.0.0.1:53"); err != nil {
				return err
			}
		}
		switch code, err := question(conn, args[0] == "tcp", uint16(i), fmt.Sprintf("n%d", i)); {
		case err != nil:
			lost++
			_ = conn.Close()
			conn = nil
		case code == dnsmessage.RCodeNameError:
			denied++
		default:
			return fmt.Errorf("question %d was answered with %s", i, code)
		}
	}
	if conn != nil {
		_ = conn.Close()
	}
	fmt.Printf("denied %d lost %d\n", denied, lost)
	return nil
}

// question asks for the address of LABEL.denied.example.com and returns the code of the answer.
func question(conn net.Conn, stream bool, id uint16, label string) (dnsmessage.RCode, error) {
	name := dnsmessage.MustNewName(label + ".denied.example.com.")
	asked := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	packet, err := asked.Pack()
	if err != nil {
		return 0, err
	}
	answer, err := exchangePacket(conn, stream, packet)
	if err != nil {
		return 0, err
	}
	header, err := new(dnsmessage.Parser).Start(answer)
	return header.RCode, err
}

// exchangePacket sends a packet and returns the next one that comes. In a stream each has its length before it.
func exchangePacket(conn net.Conn, stream bool, packet []byte) ([]byte, error) {
	if !stream {
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second)) // packets may be lost
		if _, err := conn.Write(packet); err != nil {
			return nil, err
		}
		answer := make([]byte, 512)
		n, err := conn.Read(answer)
		return answer[:n], err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)); err != nil { //nolint:gosec // it is short
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(conn, answer)
	return answer, err
}
