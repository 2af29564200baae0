package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// maxID is the highest number of a user or group that container runtimes take.
const maxID = math.MaxInt32

// maxGroups is how many groups a process can have beside its own.
const maxGroups = 1 << 16

// The files of an image that have its users and groups.
const (
	passwdFile = "/etc/passwd"
	groupFile  = "/etc/group"
)

// account is a line of the file of users.
type account struct {
	name     string
	uid, gid uint32
}

// User returns who the processes of user are: a name or a number, or either with ":group". Without a group they have all
// that the image gives the user. A number needs no line in the image's files, and of two numbers the files are not read.
// Empty is user 0.
func (f *Files) User(user string) (specs.User, error) {
	name, group, hasGroup := strings.Cut(user, ":")
	if name == "" {
		name = "0"
	}
	uid, isNumber, err := number(name)
	if err != nil {
		return specs.User{}, fmt.Errorf("user %.100q: %w", user, err)
	}
	gid, groupIsNumber, err := number(group)
	if err != nil {
		return specs.User{}, fmt.Errorf("user %.100q: group: %w", user, err)
	}
	who := account{uid: uid, gid: 0}
	if !isNumber || !hasGroup {
		if who, err = f.account(name, uid, isNumber); err != nil {
			return specs.User{}, err
		}
	}
	switch {
	case !hasGroup:
		return f.withGroups(who)
	case !groupIsNumber:
		if gid, err = f.group(group); err != nil {
			return specs.User{}, err
		}
	}
	return specs.User{UID: who.uid, GID: gid, AdditionalGids: []uint32{gid}}, nil
}

// number reads the number of a user or group, if it is one.
func number(text string) (n uint32, is bool, _ error) {
	parsed, err := strconv.ParseInt(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return 0, false, nil
	case err != nil || parsed < 0 || parsed > maxID:
		return 0, false, fmt.Errorf("want a number from 0 to %d", maxID)
	}
	return uint32(parsed), true, nil
}

func (f *Files) account(name string, uid uint32, isNumber bool) (account, error) {
	for fields, err := range f.lines(passwdFile, 4) {
		if err != nil {
			return account{}, err
		}
		u, isID, err := number(fields[2])
		g, isGroup, groupErr := number(fields[3])
		if err == nil && groupErr == nil && isID && isGroup && (isNumber && u == uid || !isNumber && fields[0] == name) {
			return account{fields[0], u, g}, nil
		}
	}
	if !isNumber {
		return account{}, fmt.Errorf("user %.100q is not in the image's %s", name, passwdFile)
	}
	return account{uid: uid}, nil
}

func (f *Files) group(name string) (uint32, error) {
	for fields, err := range f.lines(groupFile, 3) {
		if err != nil {
			return 0, err
		}
		if gid, is, err := number(fields[2]); fields[0] == name && is && err == nil {
			return gid, nil
		}
	}
	return 0, fmt.Errorf("group %.100q is not in the image's %s", name, groupFile)
}

// withGroups adds the groups that have a user as a member. One of the user's own name is not meant so.
func (f *Files) withGroups(who account) (specs.User, error) {
	gids, known := []uint32{who.gid}, map[uint32]bool{who.gid: true}
	if who.name != "" {
		for fields, err := range f.lines(groupFile, 4) {
			if err != nil {
				return specs.User{}, err
			}
			gid, is, err := number(fields[2])
			member := fields[0] != who.name && slices.Contains(strings.Split(fields[3], ","), who.name)
			if is && err == nil && member && !known[gid] {
				gids, known[gid] = append(gids, gid), true
			}
			if len(gids) > maxGroups {
				return specs.User{}, fmt.Errorf("user %.100q is in more than %d groups of the image's %s", who.name, maxGroups, groupFile)
			}
		}
	}
	return specs.User{UID: who.uid, GID: who.gid, AdditionalGids: gids}, nil
}

// lines yields the lines of a file that have so many fields between colons at least. A missing file has none.
func (f *Files) lines(name string, least int) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		data, err := f.read(name)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(nil, err)
			return
		}
		for line := range strings.Lines(string(data)) {
			fields := strings.Split(strings.TrimSpace(line), ":")
			if len(fields) >= least && !yield(fields, nil) {
				return
			}
		}
	}
}
