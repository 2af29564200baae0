// Package users finds the users and groups of a sandbox, in its own files.
package users

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

// Account is who a process can be.
type Account struct {
	UID, GID int
	Groups   []int
	Home     string // may be empty
}

// Become gives up the rights of root for those of a user; see Find.
func Become(user string) error {
	who, err := Find(user)
	if err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgroups(who.Groups), syscall.Setgid(who.GID), syscall.Setuid(who.UID)); err != nil {
		return fmt.Errorf("become user %q: %w", user, err)
	}
	return nil
}

// Credential is what makes a new process that of the user, nil when it is that of this one already, which may lack the right to change it.
func (a Account) Credential() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		if a.UID == os.Getuid() && a.GID == os.Getgid() {
			return nil, nil //nolint:nilnil // no change
		}
		return nil, errors.New("process 1 is not root: it starts processes for its own user only")
	}
	c := &syscall.Credential{Uid: uint32(a.UID), Gid: uint32(a.GID)} //nolint:gosec // ids have 31 bits
	for _, g := range a.Groups {
		c.Groups = append(c.Groups, uint32(g)) //nolint:gosec // as above
	}
	return c, nil
}

// Find finds a user by its name or number, either with ":group" of the same kinds if another group is wanted than the user's own. Without it
// the user has all the groups that have it as a member. A number needs no line in the files.
func Find(user string) (Account, error) {
	name, group, hasGroup := strings.Cut(user, ":")
	who, known, err := passwd(name)
	if err != nil {
		return Account{}, err
	}
	if who.UID < 0 {
		return Account{}, fmt.Errorf("user %q is not in the sandbox's /etc/passwd: name another, or a number", name)
	}
	who.Groups = []int{who.GID}
	switch {
	case hasGroup:
		if who.GID, err = Group(group); err != nil {
			return Account{}, err
		}
		who.Groups = []int{who.GID}
	case known != "":
		err = fieldsOf("/etc/group", 4, func(f []string) bool {
			gid := id(f[2])
			if gid >= 0 && f[0] != known && slices.Contains(strings.Split(f[3], ","), known) && !slices.Contains(who.Groups, gid) {
				who.Groups = append(who.Groups, gid)
			}
			return true
		})
	}
	return who, err
}

// passwd finds a user by its name or number, and returns its name if it has one. The number is -1 if there is no such user.
func passwd(name string) (who Account, known string, err error) {
	who.UID = id(name)
	number := who.UID
	err = fieldsOf("/etc/passwd", 4, func(f []string) bool {
		uid, gid := id(f[2]), id(f[3])
		if uid < 0 || gid < 0 || f[0] != name && (number < 0 || uid != number) {
			return true
		}
		who.UID, who.GID, known = uid, gid, f[0]
		if len(f) > 5 {
			who.Home = f[5]
		}
		return false
	})
	return who, known, err
}

// Group finds a group by its name or number.
func Group(name string) (int, error) {
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
		err = fmt.Errorf("group %q is not in the sandbox's /etc/group: name another, or a number", name)
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
		return fmt.Errorf("read the sandbox's accounts: %w", err)
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("the sandbox's %s is no plain file", path)
	}
	for lines := bufio.NewScanner(io.LimitReader(file, maxAccounts)); lines.Scan(); {
		if f := strings.Split(strings.TrimSpace(lines.Text()), ":"); len(f) >= least && !each(f) {
			return nil
		}
	}
	return nil
}
