package api

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"

	"sandpool/configs"
	"sandpool/runtime/hostproc"
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

// operatorsSee stands for a text that is for operators only.
const operatorsSee = "root and the daemon's own user see why"

// reason is why something failed, as far as the actor may know: such texts hold paths and URLs of the host, and what registries say.
func (a actor) reason(text string) string {
	if text == "" || a.operates() {
		return text
	}
	return operatorsSee
}

// image is the name of an image, as far as the actor may know: of an archive on the host it is the name of the file.
func (a actor) image(ref string) string {
	if path, isFile := strings.CutPrefix(ref, configs.FileScheme); isFile && !a.operates() {
		return configs.FileScheme + filepath.Base(path)
	}
	return ref
}

type actorKey struct{}

// errUnknownActor refuses whom the kernel does not name.
var errUnknownActor = errdefs.ErrPermissionDenied.WithMessage("the kernel does not tell who is calling")

func actorOf(ctx context.Context) (actor, bool) {
	a, ok := ctx.Value(actorKey{}).(actor)
	return a, ok
}

// peer asks the kernel who is calling.
func peer(conn *net.UnixConn) (actor, error) {
	cred, err := hostproc.Credentials(conn)
	if err != nil {
		return actor{}, err
	}
	return actor{uid: cred.Uid, pid: cred.Pid}, nil
}
