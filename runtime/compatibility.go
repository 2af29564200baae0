package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandpool/runtime/checkpoint"
	"sandpool/runtime/hostproc"
)

// specFile holds the OCI spec of the sandbox beside the images that runsc makes of it.
const specFile = "spec.json"

// compatibilityNow is what a sandbox of t is made with that is started now.
func (e *Engine) compatibilityNow(t *Prepared) (checkpoint.Compatibility, error) {
	// A restored init goes on in the middle of its program, whose pages it reads from this file.
	program, err := e.init.digest(e.cfg.Init)
	if err != nil {
		return checkpoint.Compatibility{}, fmt.Errorf("read the sandboxes' init: %w", err)
	}
	cpu, err := processor()
	return checkpoint.Compatibility{
		Runsc: e.info.Runsc, Platform: t.platform, CPU: cpu, Settings: strings.Join(t.shim.Args("platform"), " "),
		Init: program, Image: t.image, ImageDigest: t.digest, Layers: t.parent, Spec: digest(t.shared),
	}, err
}

// compatible returns the template of a checkpoint, if the checkpoint can be restored here and now.
func (e *Engine) compatible(ctx context.Context, fit checkpoint.Compatibility, dir string) (*Prepared, error) {
	data, err := os.ReadFile(filepath.Join(dir, specFile))
	if err != nil {
		return nil, fmt.Errorf("read the checkpoint's spec: %w", err)
	}
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return nil, fmt.Errorf("decode the checkpoint's spec: %w", err)
	}
	image, err := e.images.Pinned(ctx, fit.Image, fit.ImageDigest)
	if errdefs.IsNotFound(err) {
		return nil, errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("the checkpoint's image is gone: %s", err))
	}
	if err != nil {
		return nil, err
	}
	t := &Prepared{}
	if err := errors.Join(t.use(ctx, image), e.follow(t, &spec)); err != nil {
		return nil, err
	}
	now, err := e.compatibilityNow(t)
	if err != nil {
		return nil, err
	}
	now.Image = fit.Image // its digest says whether it is the same
	if err := fit.Check(now); err != nil || t.platform == e.info.Platform {
		return t, err
	}
	return t, e.usable(ctx, t.platform)
}

// program is a file whose digest is kept until the file is another.
type program struct {
	mu   sync.Mutex
	info os.FileInfo
	sum  string
}

func (p *program) digest(path string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if p.info != nil && os.SameFile(info, p.info) && info.Size() == p.info.Size() && info.ModTime().Equal(p.info.ModTime()) {
		return p.sum, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	p.info, p.sum = info, digest(data)
	return p.sum, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// processor names the processor and, by a hash, its features.
func processor() (string, error) {
	cpu, err := hostproc.CPU()
	return fmt.Sprintf("%s %s, family %s, model %s, features %.12s", cpu["vendor_id"], cpu["model name"],
		cpu["cpu family"], cpu["model"], digest([]byte(cpu["flags"]+cpu["Features"]))), err
}
