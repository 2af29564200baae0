package daemon

import (
	"context"
	"fmt"
	"net"
	"os"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// actor is the process on the other end of a connection, as the kernel knows it.
type actor struct {
	uid uint32
	pid int32
}

// owner is the actor's name in the labels of what it claims.
func (a actor) owner() string { return fmt.Sprintf("uid:%d", a.uid) }

// operates tells whether the actor may do all: root and the daemon's own user may.
func (a actor) operates() bool { return a.uid == 0 || int(a.uid) == os.Geteuid() }

// sees tells whether the actor may see and touch what belongs to owner.
func (a actor) sees(owner string) bool { return a.operates() || owner == a.owner() }

type actorKey struct{}

// errUnknownActor refuses whom the kernel does not name.
var errUnknownActor = errdefs.ErrPermissionDenied.WithMessage("the kernel does not tell who is calling")

func actorOf(ctx context.Context) (actor, bool) {
	a, ok := ctx.Value(actorKey{}).(actor)
	return a, ok
}

// peer asks the kernel who is calling.
func peer(conn *net.UnixConn) (actor, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return actor{}, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return actor{}, err
	}
	if credErr != nil {
		return actor{}, fmt.Errorf("get peer credentials: %w", credErr)
	}
	return actor{uid: cred.Uid, pid: cred.Pid}, nil
}
