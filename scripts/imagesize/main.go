// Command imagesize shows how large the layers of images are, from their OCI archives, and fails when one is outside of its budget.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/tabwriter"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/pelletier/go-toml/v2"
)

const megabyte = 1_000_000

func main() {
	budgets := flag.String("budgets", "", "a TOML `file` with the most and least megabytes, unpacked, that each image may have")
	flag.Parse()
	if err := run(os.Stdout, *budgets, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "imagesize:", err)
		os.Exit(1)
	}
}

// limits are megabytes by an image's name. Every image has a most; few have a least.
type limits struct{ Most, Least map[string]int64 }

// run reports on each archive, named after its image, and joins the errors of those that are outside of their budget or have none.
func run(w io.Writer, budgetFile string, archives []string) error {
	var budgets limits
	if budgetFile != "" {
		data, err := os.ReadFile(budgetFile)
		if err != nil {
			return err
		}
		if err := toml.Unmarshal(data, &budgets); err != nil {
			return fmt.Errorf("read %s: %w", budgetFile, err)
		}
	}
	var errs []error
	for _, archive := range archives {
		layers, err := measure(archive)
		if err != nil {
			return fmt.Errorf("measure %s: %w", archive, err)
		}
		name := strings.TrimSuffix(filepath.Base(archive), ".tar")
		total := report(w, name, layers)
		budget, ok := budgets.Most[name]
		switch {
		case budgetFile == "":
		case !ok:
			errs = append(errs, fmt.Errorf("%s has no budget in %s", name, budgetFile))
		case total > budget*megabyte:
			errs = append(errs, fmt.Errorf("%s has %d MB unpacked; its budget is %d MB", name, total/megabyte, budget))
		case total < budgets.Least[name]*megabyte:
			errs = append(errs, fmt.Errorf("%s has only %d MB unpacked, want at least %d MB", name, total/megabyte, budgets.Least[name]))
		}
	}
	return errors.Join(errs...)
}

// layer is one layer's size in bytes, and the instruction that made it.
type layer struct {
	packed, unpacked int64
	made             string
}

// report writes a table of an image's layers and returns their size unpacked.
func report(w io.Writer, name string, layers []layer) (total int64) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(what string, l layer) {
		_, _ = fmt.Fprintf(t, "%s\t%.1f\t%.1f\t  %.100s\n", what, float64(l.packed)/megabyte, float64(l.unpacked)/megabyte, l.made)
	}
	_, _ = fmt.Fprintf(t, "%s\tMB PACKED\tMB UNPACKED\t  MADE BY\n", name)
	sum := layer{}
	for i, l := range layers {
		row(fmt.Sprint("layer ", i+1), l)
		sum.packed, sum.unpacked = sum.packed+l.packed, sum.unpacked+l.unpacked
	}
	row("all", sum)
	_ = t.Flush()
	return sum.unpacked
}

// measure reads an OCI archive of one image.
func measure(archive string) ([]layer, error) {
	small, sizes, err := read(archive)
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(small[ocispec.ImageIndexFile], &index); err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	if len(index.Manifests) != 1 {
		return nil, fmt.Errorf("it holds %d images, want one", len(index.Manifests))
	}
	var manifest ocispec.Manifest
	var config ocispec.Image
	if err := json.Unmarshal(small[blob(index.Manifests[0])], &manifest); err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if err := json.Unmarshal(small[blob(manifest.Config)], &config); err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	var made []string
	for _, step := range config.History {
		if !step.EmptyLayer {
			made = append(made, strings.Join(strings.Fields(step.CreatedBy), " "))
		}
	}
	layers := make([]layer, len(manifest.Layers))
	for i, l := range manifest.Layers {
		layers[i] = layer{packed: l.Size, unpacked: sizes[blob(l)]}
		if at := i - len(layers) + len(made); at >= 0 { // the first may have no history
			layers[i].made = made[at]
		}
	}
	return layers, nil
}

func blob(d ocispec.Descriptor) string {
	return path.Join(ocispec.ImageBlobsDir, string(d.Digest.Algorithm()), d.Digest.Encoded())
}

// read returns the small files of an archive, and how much is in those that are tar archives themselves, packed or not.
func read(archive string) (small map[string][]byte, unpacked map[string]int64, _ error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }()
	small, unpacked = map[string][]byte{}, map[string]int64{}
	for t := tar.NewReader(bufio.NewReader(f)); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return small, unpacked, nil
		}
		if err != nil {
			return nil, nil, err
		}
		r := bufio.NewReader(t)
		head, err := r.Peek(2)
		switch {
		case h.Typeflag != tar.TypeReg:
		case err == nil && head[0] == '{':
			small[h.Name], err = io.ReadAll(r)
		case err == nil:
			unpacked[h.Name], err = contents(r, head)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, nil, fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

// contents sums up the sizes of a layer's files.
func contents(r io.Reader, head []byte) (sum int64, err error) {
	if bytes.Equal(head, []byte{0x1f, 0x8b}) {
		if r, err = gzip.NewReader(r); err != nil {
			return 0, err
		}
	}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return sum, nil
		}
		if err != nil {
			return 0, err
		}
		sum += h.Size
	}
}
