package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
)

// withUser makes user the one that the sandbox's processes run as: a name or number of the image, or either with ":group".
// Without a group it has all that the image gives it.
func withUser(user string) oci.SpecOpts {
	return func(ctx context.Context, client oci.Client, c *containers.Container, s *oci.Spec) error {
		name, group, hasGroup := strings.Cut(user, ":")
		err := oci.WithUser(user)(ctx, client, c, s)
		missing := errors.Is(err, fs.ErrNotExist) // the file that has the names
		_, notNumber := strconv.Atoi(name)
		switch {
		case errors.Is(err, oci.ErrNoUsersFound), missing && notNumber != nil:
			return fmt.Errorf("user %q is not in the image's /etc/passwd: mend the template's user", name)
		case errors.Is(err, oci.ErrNoGroupsFound), missing:
			return fmt.Errorf("group %q is not in the image's /etc/group: mend the template's user", group)
		case err != nil || hasGroup:
			return err
		}
		return oci.WithAdditionalGIDs(name)(ctx, client, c, s)
	}
}
