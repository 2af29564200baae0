package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// account is a user of the sandbox.
type account struct {
	name     string // empty: it has only a number
	home     string
	uid, gid uint32
	groups   []uint32 // beside gid
}

// maxAccounts is how large the files of users and groups may be, in bytes.
const maxAccounts = 1 << 20

// accountOf finds a user by name or number, with a group of the same kinds behind a colon if another is wanted than the user's own.
func accountOf(user string) (account, error) {
	name, group, grouped := strings.Cut(user, ":")
	a := account{}
	if uid, err := strconv.ParseUint(name, 10, 31); err == nil {
		a.uid = uint32(uid)
	}
	number := strconv.FormatUint(uint64(a.uid), 10)
	entry := entryOf("/etc/passwd", 7, func(fields []string) bool { return fields[0] == name || name == number && fields[2] == number })
	switch {
	case entry != nil:
		uid, errUID := strconv.ParseUint(entry[2], 10, 31)
		gid, errGID := strconv.ParseUint(entry[3], 10, 31)
		if err := errors.Join(errUID, errGID); err != nil {
			return account{}, fmt.Errorf("user %q: /etc/passwd: %w", name, err)
		}
		a = account{name: entry[0], home: entry[5], uid: uint32(uid), gid: uint32(gid)}
	case name != number:
		return account{}, fmt.Errorf("user %q is not in the sandbox's /etc/passwd: name another, or a number", name)
	}
	if !grouped {
		a.groups = groupsOf(a.name)
		return a, nil
	}
	gid, err := groupNumber(group)
	a.gid = gid
	return a, err
}

func groupNumber(group string) (uint32, error) {
	if gid, err := strconv.ParseUint(group, 10, 31); err == nil {
		return uint32(gid), nil
	}
	entry := entryOf("/etc/group", 3, func(fields []string) bool { return fields[0] == group })
	if entry == nil {
		return 0, fmt.Errorf("group %q is not in the sandbox's /etc/group: name another, or a number", group)
	}
	gid, err := strconv.ParseUint(entry[2], 10, 31)
	return uint32(gid), err
}

// groupsOf are the groups that list a user.
func groupsOf(name string) (groups []uint32) {
	if name == "" {
		return nil
	}
	entryOf("/etc/group", 4, func(fields []string) bool {
		if gid, err := strconv.ParseUint(fields[2], 10, 31); err == nil && slices.Contains(strings.Split(fields[3], ","), name) {
			groups = append(groups, uint32(gid))
		}
		return false
	})
	return groups
}

// entryOf returns the fields of the first line of a file of accounts that is the wanted one, or nil.
func entryOf(path string, fields int, wanted func([]string) bool) []string {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) //nolint:gosec // the sandbox's own: a pipe does not hold it up
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(file, maxAccounts))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		entry := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(entry) >= fields && wanted(entry) {
			return entry
		}
	}
	return nil
}

// credential is what makes a process that of the user, nil when it is that of process 1 already, which may lack the right to change it.
func (a account) credential() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		if int(a.uid) == os.Getuid() && int(a.gid) == os.Getgid() {
			return nil, nil //nolint:nilnil // no change
		}
		return nil, errors.New("process 1 is not root: it starts processes for its own user only")
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}, nil
}
