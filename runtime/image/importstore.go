package image

import (
	"context"
	"time"

	"github.com/containerd/containerd/v2/core/content"
)

// abandonTimeout bounds the removal of what was written, which goes on when its caller gave up.
const abandonTimeout = 10 * time.Second

// importStore is containerd's store for the parts of one archive. Their writes are named after the archive as well: by the names of files in
// it, two archives would write into one another's parts, and one would go on from what another left.
type importStore struct {
	content.Store

	prefix string
	refs   []string // of all writes
}

// Writer begins a write.
func (s *importStore) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	return s.Store.Writer(ctx, append(opts, func(o *content.WriterOpts) error {
		o.Ref = s.prefix + o.Ref
		s.refs = append(s.refs, o.Ref)
		return nil
	})...)
}

// abandon drops what was written and not finished.
func (s *importStore) abandon(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer cancel()
	for _, ref := range s.refs {
		_ = s.Abort(ctx, ref) // of those that were finished there is nothing left
	}
}
