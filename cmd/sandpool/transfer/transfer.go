// Package transfer copies files between this host and the sandboxes of claims.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"sandpool/cmd/sandpool-init/tree"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// Copier copies as cp and scp do: modes, times, links and holes are kept.
type Copier struct {
	Daemon  *client.Client
	User    string // of the sandbox, with whose rights its files are read and written; empty: its own
	Owners  bool   // keep owners by their numbers, and set-user-id bits
	Follow  bool   // copy what a link leads to that is named itself
	In      io.Reader
	Out     io.Writer
	Bar     *Bar          // may be nil
	Patient time.Duration // how long a large file waits for a daemon that is away
}

// Place is one end of a copy.
type Place struct {
	Claim string // empty: this host
	Path  string // "-" on this host: a tar stream on standard input or output
}

// ParsePlace reads CLAIM:PATH, a path of this host, or "-". A path of this host that has a colon in its first name is to begin with ./ or /.
func ParsePlace(text string) Place {
	claim, inside, found := strings.Cut(text, ":")
	if !found || claim == "" || strings.ContainsAny(claim, "./") {
		return Place{Path: text}
	}
	return Place{claim, inside}
}

func (c *Copier) files(p Place) client.Files {
	f := c.Daemon.Files(p.Claim)
	f.User = c.User
	return f
}

// Copy copies from one place to another. Into a folder that is there it goes under its own name, or with /. at its end only what is in it.
func (c *Copier) Copy(ctx context.Context, from, to Place) error {
	if from.Claim == "" && to.Claim == "" {
		return errors.New("want CLAIM:PATH for one of the two places")
	}
	if from.Path == "" || to.Path == "" {
		return errors.New("a path is missing behind the colon: / is the sandbox's top folder, and . that in which its commands work")
	}
	switch {
	case from == Place{Path: "-"}:
		return c.files(to).Unpack(ctx, to.Path, c.Bar.reader(c.In, 0), c.Owners)
	case to == Place{Path: "-"}:
		return c.packTo(ctx, from)
	}
	source, err := c.look(ctx, from, c.Follow || strings.HasSuffix(from.Path, "/"))
	if err != nil {
		return err
	}
	if source == nil {
		return fmt.Errorf("copy %q: %w", from.Path, fs.ErrNotExist)
	}
	target, err := c.target(ctx, from, to, source.Kind == wire.KindFolder)
	if err != nil {
		return err
	}
	if source.Kind == wire.KindFolder && within(target, from) {
		return fmt.Errorf("copy %q to %q: a folder cannot be copied into itself", from.Path, to.Path)
	}
	switch {
	case source.Kind == wire.KindFile && from.Claim == "" && !c.Owners && !c.sparse(from):
		return c.upload(ctx, from, target)
	case source.Kind == wire.KindFile && to.Claim == "":
		return c.download(ctx, from, target, *source)
	default:
		return c.pass(ctx, from, target)
	}
}

// within tells whether a copy would be in what is copied.
func within(to target, from Place) bool {
	inner, outer := path.Clean(to.path()), path.Clean(from.Path)
	return to.Claim == from.Claim && (inner == outer || strings.HasPrefix(inner, strings.TrimSuffix(outer, "/")+"/"))
}

// packTo writes a tar stream to standard output.
func (c *Copier) packTo(ctx context.Context, from Place) error {
	stream, err := c.files(from).Pack(ctx, from.Path, "", c.Follow)
	if err != nil {
		return err
	}
	defer stream.Close() //nolint:errcheck // it was only read
	_, err = io.Copy(c.Out, c.Bar.reader(stream, 0))
	return broken(err)
}

// broken says of a stream that ended too early what that means.
func broken(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it broke off, since a file could not be read or the sandbox has ended: %w", err)
	}
	return err
}

// look returns what a path leads to, or nil if there is nothing.
func (c *Copier) look(ctx context.Context, p Place, follow bool) (*wire.File, error) {
	if p.Claim == "" {
		return lookHere(p.Path, follow)
	}
	file, err := c.files(p).Stat(ctx, p.Path, follow)
	if answer, ok := errors.AsType[*wire.Error](err); ok && answer.Code == wire.CodeFileNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &file, nil
}

func lookHere(name string, follow bool) (*wire.File, error) {
	info, err := os.Lstat(name)
	if err == nil && follow {
		info, err = os.Stat(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	kind := wire.KindDevice
	switch {
	case info.Mode().IsRegular():
		kind = wire.KindFile
	case info.IsDir():
		kind = wire.KindFolder
	case info.Mode()&fs.ModeSymlink != 0:
		kind = wire.KindLink
	case info.Mode()&fs.ModeNamedPipe != 0:
		kind = wire.KindPipe
	}
	return &wire.File{Path: name, Kind: kind, Size: info.Size()}, nil
}

// target is where a copy goes: a folder that is there, and the name in it.
type target struct {
	Place // the folder

	name string     // "." for the folder itself
	old  *wire.File // what has the name already, if that was looked at
}

// path is that of the copy.
func (t target) path() string { return strings.TrimSuffix(t.Path, "/") + "/" + t.name }

func (c *Copier) target(ctx context.Context, from, to Place, folder bool) (target, error) {
	there, err := c.look(ctx, to, true)
	if err != nil {
		return target{}, err
	}
	parent, name := tree.Split(to.Path)
	switch {
	case there != nil && there.Kind == wire.KindFolder:
		name = tree.Base(from.Path)
		if strings.HasSuffix(from.Path, "/.") {
			name = "."
		}
		t := target{Place: to, name: name}
		if name != "." {
			t.old, err = c.look(ctx, Place{to.Claim, t.path()}, true)
		}
		if err == nil && t.old != nil && (t.old.Kind == wire.KindFolder) != folder {
			err = fmt.Errorf("copy to %q: one of both is a folder, and the other is not", t.path())
		}
		return t, err
	case there == nil && strings.HasSuffix(to.Path, "/"):
		return target{}, fmt.Errorf("copy to %q: there is no such folder", to.Path)
	case there != nil && folder:
		return target{}, fmt.Errorf("copy to %q: it is a %s, and a folder is to be copied", to.Path, there.Kind)
	default:
		return target{Place{to.Claim, parent}, name, there}, nil
	}
}

// sparse tells whether a file of this host has holes, which tar streams keep.
func (c *Copier) sparse(p Place) bool {
	info, err := os.Stat(p.Path)
	return err == nil && allocated(info) < info.Size()
}

// pass carries a tar stream from one place to another.
func (c *Copier) pass(ctx context.Context, from Place, to target) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.pack(ctx, from, to.name)
	if err != nil {
		return err
	}
	defer stream.Close() //nolint:errcheck // who packs sees it
	in := c.Bar.reader(stream, 0)
	if to.Claim != "" {
		return c.files(to.Place).Unpack(ctx, to.Path, in, c.Owners)
	}
	folder, err := tree.OpenFolder(to.Path)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	err = tree.Unpack(in, folder, tree.Options{Root: to.name, Owners: c.Owners, Special: c.Owners})
	if err == nil {
		_, err = io.Copy(io.Discard, in) // whether it ended as it should
	}
	return broken(err)
}

// pack returns a tar stream of what is at a place.
func (c *Copier) pack(ctx context.Context, from Place, as string) (io.ReadCloser, error) {
	if from.Claim != "" {
		return c.files(from).Pack(ctx, from.Path, as, c.Follow || strings.HasSuffix(from.Path, "/"))
	}
	source := from.Path
	if c.Follow {
		resolved, err := filepath.EvalSymlinks(source)
		if err != nil {
			return nil, err
		}
		source = resolved
	}
	parent, name := tree.Split(source)
	folder, err := tree.OpenFolder(parent)
	if err != nil {
		return nil, err
	}
	out, in := io.Pipe()
	go func() {
		err := tree.Pack(in, folder, name, as)
		_ = folder.Close()
		_ = in.CloseWithError(err)
	}()
	return out, nil
}
