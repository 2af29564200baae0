package image

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	ocidigest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"sandpool/runtime/call"
)

// State is how far an image is.
type State string

// The states of an image.
const (
	Resolving State = "resolving" // found out what it is and what of it is there
	Pulling   State = "pulling"
	Importing State = "importing"
	Unpacking State = "unpacking"
	Ready     State = "ready"
	Failed    State = "failed"
)

// Status is the image of one or more templates. While it is fetched its digest is the one to come.
type Status struct {
	Ref       string // as the templates name it
	Digest    string // empty until it is known
	State     State
	Templates []string // sorted
	Error     string   // of the last attempt, which named its step
	Since     time.Time

	Layers, LayersTotal int
	Bytes, BytesTotal   int64 // as they are sent, not unpacked; of an archive its file's
}

// book knows the images of the templates that were ever prepared and not forgotten.
type book struct {
	pruning sync.RWMutex // held to read while an image is found and held, and to write while unused ones go

	mu      sync.Mutex
	fetches map[string]*fetch // by reference
}

// fetch is one image: what is known of it, and the turn of who fetches it.
type fetch struct {
	ref    string
	turn   chan struct{} // one slot: taken by who works on it
	policy Policy        // of who has the turn

	// What follows is guarded by book.mu.
	templates map[string]bool
	status    Status
	blobs     []ocispec.Descriptor // that are being pulled
	fetching  bool                 // something was fetched since begin
	failed    State                // in which the last attempt failed; empty if it did not

	archive string       // its hash, once it was imported in this turn
	read    atomic.Int64 // bytes of it
}

// begin takes the turn at an image, for a template.
func (b *book) begin(ctx context.Context, template, ref string) (*fetch, error) {
	f := b.join(template, ref)
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("image %s: wait for another template's fetch: %w", ref, context.Cause(ctx))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	f.fetching, f.blobs, f.archive = false, nil, ""
	return f, nil
}

// join notes that a template has the image, and no other.
func (b *book) join(template, ref string) *fetch {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.fetches[ref]
	if f == nil {
		f = &fetch{ref: ref, turn: make(chan struct{}, 1), templates: map[string]bool{}}
		f.status = Status{Ref: ref, State: Resolving, Since: time.Now()}
		b.fetches[ref] = f
	}
	b.leave(func(name string) bool { return name == template })
	f.templates[template] = true
	b.fetches[ref] = f
	return f
}

// leave takes templates from their images, and drops images that have none left.
func (b *book) leave(gone func(template string) bool) {
	for _, f := range b.fetches {
		maps.DeleteFunc(f.templates, func(name string, _ bool) bool { return gone(name) })
	}
	maps.DeleteFunc(b.fetches, func(_ string, f *fetch) bool { return len(f.templates) == 0 })
}

// forget drops all templates but those that keep names.
func (b *book) forget(keep func(template string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leave(func(name string) bool { return !keep(name) })
}

func (b *book) enter(f *fetch, state State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f.status.State == state {
		return
	}
	f.status.State, f.status.Since = state, time.Now()
	f.fetching = f.fetching || state == Pulling || state == Importing
}

// hold says what the reference stands for, which is not pruned from now on.
func (b *book) hold(f *fetch, d ocidigest.Digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f.status.Digest = d.String()
}

// held tells whether a digest is that of an image that is fetched or ready.
func (b *book) held(digest string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.fetches {
		if f.status.Digest == digest {
			return true
		}
	}
	return false
}

// pulls notes a blob that is pulled, and returns the bytes of all of them.
func (b *book) pulls(f *fetch, blob ocispec.Descriptor) (bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.ContainsFunc(f.blobs, func(d ocispec.Descriptor) bool { return d.Digest == blob.Digest }) {
		f.blobs = append(f.blobs, blob)
	}
	for _, pulled := range f.blobs {
		bytes += pulled.Size
	}
	return bytes
}

// pulled returns the blobs that pulls noted in this turn.
func (b *book) pulled(f *fetch) []ocispec.Descriptor {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(f.blobs)
}

// reads notes that an archive of a size is read from its beginning.
func (b *book) reads(f *fetch, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f.read.Store(0)
	f.status.Layers, f.status.LayersTotal, f.status.BytesTotal = 0, 0, size
}

// parts notes what the image consists of; all of it is there.
func (b *book) parts(f *fetch, m ocispec.Manifest) {
	size := m.Config.Size
	for _, layer := range m.Layers {
		size += layer.Size
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	f.blobs = nil
	f.status.Layers, f.status.LayersTotal, f.status.Bytes, f.status.BytesTotal = len(m.Layers), len(m.Layers), size, size
}

// end gives up the turn. What came of it is worth to be told if something was fetched, and a failure if the last attempt did
// not fail at the same point.
func (b *book) end(f *fetch, err error) (status Status, worth bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() { <-f.turn }()
	at := f.status.State
	f.status.State, f.status.Since, f.status.Error = Ready, time.Now(), ""
	worth = f.fetching
	if err != nil {
		f.status.State, f.status.Error = Failed, err.Error()
		worth = f.failed != at
	} else {
		at = ""
	}
	f.failed = at
	return f.shown(), worth
}

func (f *fetch) shown() Status {
	status := f.status
	status.Templates = slices.Sorted(maps.Keys(f.templates))
	return status
}

// List returns the images of all templates that were prepared, sorted by their references.
func (s *Store) List(ctx context.Context) (list []Status, err error) {
	err = s.cfg.Calls.Do(ctx, s.cfg.ListTimeout, call.Op{Verb: "list", Object: "images"}, func(ctx context.Context) error {
		list, err = s.measure(ctx)
		return err
	})
	return list, err
}

func (s *Store) measure(ctx context.Context) ([]Status, error) {
	s.book.mu.Lock()
	list, blobs := make([]Status, 0, len(s.book.fetches)), map[string][]ocispec.Descriptor{}
	for _, f := range s.book.fetches {
		status := f.shown()
		if status.State == Importing {
			status.Bytes = f.read.Load()
		}
		if status.State == Pulling {
			blobs[f.ref] = slices.Clone(f.blobs)
		}
		list = append(list, status)
	}
	s.book.mu.Unlock()
	for i := range list {
		if pulled := blobs[list[i].Ref]; len(pulled) > 0 {
			if err := s.count(ctx, &list[i], pulled); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(list, func(a, b Status) int { return cmp.Compare(a.Ref, b.Ref) })
	return list, nil
}

// count works out how much of some blobs containerd has.
func (s *Store) count(ctx context.Context, status *Status, blobs []ocispec.Descriptor) error {
	store := s.cfg.Client.ContentStore()
	active, err := store.ListStatuses(ctx)
	if err != nil {
		return fmt.Errorf("list ingests: %w", err)
	}
	offsets := map[string]int64{}
	for _, a := range active {
		offsets[a.Ref] = a.Offset
	}
	status.Layers, status.LayersTotal, status.Bytes, status.BytesTotal = 0, 0, 0, 0
	for _, blob := range blobs {
		bytes := offsets[remotes.MakeRefKey(ctx, blob)]
		_, err := store.Info(ctx, blob.Digest)
		if err == nil {
			bytes = blob.Size
		}
		status.Bytes, status.BytesTotal = status.Bytes+bytes, status.BytesTotal+blob.Size
		if images.IsLayerType(blob.MediaType) {
			status.LayersTotal++
			if err == nil {
				status.Layers++
			}
		}
	}
	return nil
}
