package tenant

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"strings"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

const (
	folder     = "/tmp/tenant"
	uploadSize = 3 << 20
	growSize   = 300 << 10
	treeSize   = 100 << 10
	// unfinished begins the names of files that the init has not written whole.
	unfinished = ".sandpool-"
)

// world is the contents of the files in the tenant's folder, by their names.
type world map[string]string

// files are what the tenant knows of its folder.
type files struct {
	generation int // of the last content
	made       bool
	has        world   // as it was answered last
	under      *change // was begun and not answered
}

// The ways in which a change comes about.
const (
	atOnce = iota
	byFile // one file after the other, each at once
	growing
)

// change is what the folder was to become.
type change struct {
	to  world
	how int
}

// change changes the folder. As long as an earlier change was not answered, and nobody looked, it does nothing.
func (t *Tenant) change(ctx context.Context, how int, next func(world), do func(client.Files) error) error {
	f := t.client.Files(t.claim)
	if t.files.under != nil {
		return nil
	}
	if !t.files.made {
		if _, err := f.Mkdir(ctx, folder, 0o755, true); err != nil {
			return err
		}
		t.files.made = true
	}
	to := maps.Clone(t.files.has)
	next(to)
	t.files.under = &change{to, how}
	if err := do(f); err != nil {
		return err
	}
	t.files.has, t.files.under = to, nil
	return nil
}

// content is a new content of about so many bytes.
func (f *files) content(size int) string {
	f.generation++
	line := fmt.Sprintf("generation %d\n", f.generation)
	return strings.Repeat(line, size/len(line))
}

// write puts a new content in place of a file's.
func (t *Tenant) write(ctx context.Context, name string, size int) error {
	content := t.files.content(size)
	return t.change(ctx, atOnce, func(w world) { w[name] = content }, func(f client.Files) error {
		_, err := f.Write(ctx, path.Join(folder, name), strings.NewReader(content), client.WriteOptions{})
		return err
	})
}

func (t *Tenant) upload(ctx context.Context) error { return t.write(ctx, "upload", uploadSize) }

// grow adds to a file, as who goes on with a copy: at its end as it is known.
func (t *Tenant) grow(ctx context.Context) error {
	const name = "growing"
	if len(t.files.has[name]) > uploadSize {
		return nil
	}
	more, at := t.files.content(growSize), int64(len(t.files.has[name]))
	return t.change(ctx, growing, func(w world) { w[name] += more }, func(f client.Files) error {
		_, err := f.Write(ctx, path.Join(folder, name), strings.NewReader(more), client.WriteOptions{Append: true, Offset: &at})
		return err
	})
}

// unpack replaces a folder's files.
func (t *Tenant) unpack(ctx context.Context) error {
	content := t.files.content(treeSize)
	names := []string{"tree/a", "tree/b", "tree/deep/c", "tree/deep/d"}
	var stream bytes.Buffer
	w := tar.NewWriter(&stream)
	var err error
	for _, name := range names {
		err = errors.Join(err, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}))
		_, errWrite := io.WriteString(w, content)
		err = errors.Join(err, errWrite)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	next := func(w world) {
		for _, name := range names {
			w[name] = content
		}
	}
	return t.change(ctx, byFile, next, func(f client.Files) error { return f.Unpack(ctx, folder, &stream, false) })
}

// moveAndRemove writes a file, gives it another name and removes it.
func (t *Tenant) moveAndRemove(ctx context.Context) error {
	if err := t.write(ctx, "from", treeSize); err != nil {
		return err
	}
	move := func(w world) {
		w["to"] = w["from"]
		delete(w, "from")
	}
	if err := t.change(ctx, atOnce, move, func(f client.Files) error {
		_, err := f.Move(ctx, folder+"/from", folder+"/to")
		return err
	}); err != nil {
		return err
	}
	return t.change(ctx, atOnce, func(w world) { delete(w, "to") }, func(f client.Files) error { return f.Remove(ctx, folder+"/to", false) })
}

// look reads the folder. Files that are not whole yet, by their names, are told apart.
func (t *Tenant) look(ctx context.Context) (now world, left []string, err error) {
	now = world{}
	stream, err := t.client.Files(t.claim).Pack(ctx, folder, ".", false)
	if answer, ok := errors.AsType[*wire.Error](err); ok && answer.Code == "file_not_found" && !t.files.made {
		return now, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer stream.Close() //nolint:errcheck // it was only read
	for in := tar.NewReader(stream); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return now, left, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read folder: %w", err)
		}
		switch content, err := io.ReadAll(in); {
		case err != nil:
			return nil, nil, fmt.Errorf("read folder: %w", err)
		case h.Typeflag != tar.TypeReg:
		case strings.HasPrefix(path.Base(h.Name), unfinished):
			left = append(left, path.Join(folder, h.Name)) //nolint:gosec // it is told, and not opened
		default:
			now[path.Clean(h.Name)] = string(content)
		}
	}
}

// explain says which files are neither as they were answered last nor as the change under way may have left them.
func (f *files) explain(now world) error {
	under := f.under
	if under == nil {
		under = &change{to: f.has}
	}
	if maps.Equal(now, f.has) || maps.Equal(now, under.to) {
		return nil
	}
	names := maps.Clone(f.has)
	maps.Copy(names, under.to)
	maps.Copy(names, now)
	var errs []error
	for name := range names {
		if !under.allows(name, f.has, now) {
			errs = append(errs, fmt.Errorf("file %s is %s; it was %s, and is to be %s", name, now.show(name), f.has.show(name), under.to.show(name)))
		}
	}
	return errors.Join(errs...)
}

// allows tells whether the change may have left a file as it is now, when others are neither all as they were nor all as they are to be.
func (c *change) allows(name string, was, now world) bool {
	before, after := now.same(was, name), now.same(c.to, name)
	switch c.how {
	case byFile:
		return before || after
	case growing:
		is, there := now[name]
		return before || after || there && strings.HasPrefix(is, was[name]) && strings.HasPrefix(c.to[name], is)
	default:
		return before && after
	}
}

// same tells whether a file is the same in another world.
func (w world) same(other world, name string) bool {
	content, in := w[name]
	otherContent, inOther := other[name]
	return in == inOther && content == otherContent
}

// show says in short what is in a file.
func (w world) show(name string) string {
	content, there := w[name]
	if !there {
		return "not there"
	}
	line, _, _ := strings.Cut(content, "\n")
	return fmt.Sprintf("%d bytes %.40q", len(content), line)
}
