package outside

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"

	"golang.org/x/crypto/ssh"
)

// serveShell returns a server of SSH that lets everybody in and greets whatever command is asked for.
func serveShell() (func(net.Conn) error, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, err
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	return func(conn net.Conn) error {
		_, channels, requests, err := ssh.NewServerConn(conn, config)
		if err != nil {
			return err
		}
		go ssh.DiscardRequests(requests)
		for offered := range channels {
			channel, requests, err := offered.Accept()
			if err != nil {
				return err
			}
			go greetShell(channel, requests)
		}
		return nil
	}, nil
}

func greetShell(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close() //nolint:errcheck // the client sees the end
	for request := range requests {
		known := request.Type == "exec"
		_ = request.Reply(known, nil) // the client may have gone
		if !known {
			continue
		}
		fmt.Fprintln(channel, "good day")
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{}))
		return
	}
}
