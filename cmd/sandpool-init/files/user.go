package files

import (
	"bufio"
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

// account is who a process can be.
type account struct {
	uid, gid int
	groups   []int
}

// become gives up the rights of root for those of a user: a name or a number, or either with ":group".
func become(user string) error {
	who, err := lookUp(user)
	if err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgroups(who.groups), syscall.Setgid(who.gid), syscall.Setuid(who.uid)); err != nil {
		return fmt.Errorf("become user %q: %w", user, err)
	}
	return nil
}

// lookUp finds a user in the sandbox's own files. Without a group it has all those that have it as a member. A number needs no line there.
func lookUp(user string) (account, error) {
	name, group, hasGroup := strings.Cut(user, ":")
	who, known, err := passwd(name)
	if err != nil {
		return account{}, err
	}
	if who.uid < 0 {
		return account{}, invalid("user %q is not in the sandbox's /etc/passwd", name)
	}
	who.groups = []int{who.gid}
	switch {
	case hasGroup:
		if who.gid, err = groupID(group); err != nil {
			return account{}, err
		}
		who.groups = []int{who.gid}
	case known != "":
		err = fieldsOf("/etc/group", 4, func(f []string) bool {
			gid := id(f[2])
			if gid >= 0 && f[0] != known && slices.Contains(strings.Split(f[3], ","), known) && !slices.Contains(who.groups, gid) {
				who.groups = append(who.groups, gid)
			}
			return true
		})
	}
	return who, err
}

// passwd finds a user by its name or number, and returns its name if it has one. The number is -1 if there is no such user.
func passwd(name string) (who account, known string, err error) {
	who.uid = id(name)
	number := who.uid
	err = fieldsOf("/etc/passwd", 4, func(f []string) bool {
		uid, gid := id(f[2]), id(f[3])
		if uid < 0 || gid < 0 || f[0] != name && (number < 0 || uid != number) {
			return true
		}
		who.uid, who.gid, known = uid, gid, f[0]
		return false
	})
	return who, known, err
}

func groupID(name string) (int, error) {
	gid := id(name)
	if gid >= 0 {
		return gid, nil
	}
	err := fieldsOf("/etc/group", 3, func(f []string) bool {
		if f[0] == name {
			gid = id(f[2])
		}
		return gid < 0
	})
	if err == nil && gid < 0 {
		err = invalid("group %q is not in the sandbox's /etc/group", name)
	}
	return gid, err
}

// id reads the number of a user or group, and is -1 for what is none.
func id(text string) int {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return -1
	}
	return int(n)
}

// maxAccounts is how much of a file of users or groups is read, in bytes.
const maxAccounts = 4 << 20

// fieldsOf calls each for the lines of a file that have so many fields at least, until it returns false. A file that is none, such as a pipe,
// is an error; a missing one has no lines.
func fieldsOf(path string, least int, each func([]string) bool) error {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return about("read", path, err)
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return invalid("the sandbox's %s is no plain file", path)
	}
	for lines := bufio.NewScanner(io.LimitReader(file, maxAccounts)); lines.Scan(); {
		if f := strings.Split(strings.TrimSpace(lines.Text()), ":"); len(f) >= least && !each(f) {
			return nil
		}
	}
	return nil
}
