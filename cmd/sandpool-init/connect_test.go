package main

import (
	"bytes"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestConnect has a server of each address family answer what it was sent, once that has ended.
func TestConnect(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = listener.Close() }()
			go func() {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }()
				sent, _ := io.ReadAll(conn)
				_, _ = conn.Write(bytes.ToUpper(sent))
			}()
			sent := bytes.Repeat([]byte("0123456789abcde\n"), 1<<16) // 1 MiB, more than any buffer on the way holds
			cmd := exec.CommandContext(t.Context(), program, "connect", strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))
			cmd.Stdin = bytes.NewReader(sent)
			got, err := cmd.Output()
			if err != nil || !bytes.Equal(got, bytes.ToUpper(sent)) {
				t.Errorf("%v; %d of %d bytes came back", err, len(got), len(sent))
			}
		})
	}
}

func TestConnectToNobody(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	_ = listener.Close()
	cmd := exec.CommandContext(t.Context(), program, "connect", port)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != exitFailure || !strings.Contains(string(out), "connect to port "+port+": connection refused") {
		t.Errorf("%v: %s", err, out)
	}
}
