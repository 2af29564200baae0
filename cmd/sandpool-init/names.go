package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// ownName marks the line of /etc/hosts that has the sandbox's own name: another one replaces it after a restore.
	ownName = "\t# this sandbox"
	// hosts is what every sandbox's /etc/hosts begins with. localhost is the IPv4 address alone, so that a server that listens on it
	// and a client that asks for it agree.
	hosts = "127.0.0.1\tlocalhost\n::1\tip6-localhost ip6-loopback\n"
	// noServer is the /etc/resolv.conf of a sandbox without a network: nobody answers there, and that is known at once.
	noServer = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
	// doorServer is that of a sandbox with a door: process 1 answers, and a question may wait for the daemon.
	doorServer = "nameserver 127.0.0.1\noptions timeout:10 attempts:2\n"
	// maxHosts is the size in bytes of the largest /etc/hosts that is changed rather than replaced.
	maxHosts = 1 << 20
)

// nameSandbox writes the files by which programs know the names of a new sandbox, in place of the image's, as container engines do. servers is
// its /etc/resolv.conf; empty: the image's stays.
func nameSandbox(id, servers string) error {
	etc, err := openEtc()
	if err != nil || etc == nil {
		return err
	}
	defer etc.close()
	errs := []error{etc.write("hosts", hosts+ownLine(id)), etc.write("hostname", id+"\n")}
	if servers != "" {
		errs = append(errs, etc.write("resolv.conf", servers))
	}
	return errors.Join(errs...)
}

// renameSandbox gives a restored sandbox the name id in these files. Other lines of /etc/hosts are the users' own and stay.
func renameSandbox(id string) error {
	etc, err := openEtc()
	if err != nil || etc == nil {
		return err
	}
	defer etc.close()
	return errors.Join(etc.write("hosts", withOwnLine(etc.read("hosts", maxHosts), id)), etc.write("hostname", id+"\n"))
}

func ownLine(id string) string { return "127.0.0.1\t" + id + ownName + "\n" }

// withOwnLine is the content of a hosts file with the sandbox's own name, and no other sandbox's.
func withOwnLine(content []byte, id string) string {
	if len(content) == 0 {
		return hosts + ownLine(id)
	}
	var kept strings.Builder
	for line := range bytes.Lines(content) {
		if !bytes.HasSuffix(bytes.TrimRight(line, "\n"), []byte(ownName)) {
			kept.Write(line)
		}
	}
	if text := kept.String(); text != "" && !strings.HasSuffix(text, "\n") {
		kept.WriteByte('\n')
	}
	return kept.String() + ownLine(id)
}

// openEtc opens /etc, which it makes if need be. It is nil when something is mounted there: that is the template's, and perhaps
// the host's.
func openEtc() (*folder, error) {
	if err := unix.Mkdir("/etc", 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make /etc: %w", err)
	}
	fd, err := unix.Open("/etc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /etc: %w", err)
	}
	var root, etc unix.Stat_t
	if err := errors.Join(unix.Stat("/", &root), unix.Fstat(fd, &etc)); err != nil || root.Dev != etc.Dev {
		_ = unix.Close(fd)
		return nil, err
	}
	return &folder{fd, "/etc"}, nil
}
