package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/wire"
	"sandpool/lifetime/wait"
)

const (
	// redrawAfter is how often images are looked at while they are watched.
	redrawAfter = 500 * time.Millisecond
	// clearScreen also brings a terminal's cursor to the first line.
	clearScreen = "\x1b[H\x1b[2J"
)

func (a *app) imagesCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "images",
		Short: "Show the templates' images, and how far those are that are being fetched",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return a.watchImages(cmd.Context())
			}
			images, err := a.daemon.Images(cmd.Context())
			if err != nil {
				return err
			}
			return a.printImages(a.out, images)
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show them anew when something changes, until all are ready or have failed")
	return cmd
}

func (a *app) printImages(to io.Writer, images []wire.Image) error {
	return a.printTo(to, wire.ImageList{Images: images}, func(w io.Writer) {
		table.Line(w, "IMAGE", "STATE", "LAYERS", "BYTES", "DIGEST", "TEMPLATES")
		for _, i := range images {
			table.Line(w, i.Image, imageState(i), fmt.Sprintf("%d/%d", i.Layers, i.LayersTotal), fmt.Sprintf("%s/%s MB", megabytes(i.Bytes), megabytes(i.BytesTotal)),
				shortDigest(i.Digest), strings.Join(i.Templates, ","))
		}
	})
}

func imageState(i wire.Image) string {
	if i.Error != "" {
		return i.State + ": " + i.Error
	}
	return i.State
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }

// shortDigest is enough of a digest to tell it from others.
func shortDigest(digest string) string {
	_, hash, _ := strings.Cut(digest, ":")
	return cmp.Or(hash[:min(len(hash), 12)], "-")
}

// watchImages shows the images whenever they change, on a terminal over what it showed before.
func (a *app) watchImages(ctx context.Context) error {
	file, isFile := a.out.(*os.File)
	over := isFile && !a.json && term.IsTerminal(int(file.Fd()))
	for shown := ""; ; _ = wait.Sleep(ctx, redrawAfter) {
		images, err := a.daemon.Images(ctx)
		if err != nil {
			return err
		}
		var text bytes.Buffer
		if over {
			text.WriteString(clearScreen)
		}
		if err := a.printImages(&text, images); err != nil {
			return err
		}
		if text.String() != shown {
			shown = text.String()
			if _, err := io.WriteString(a.out, shown); err != nil {
				return printed(err)
			}
		}
		if settled, err := settledImages(images); settled || err != nil {
			return err
		}
	}
}

// settledImages tells whether all images are ready or have failed; the failures are an error then.
func settledImages(images []wire.Image) (bool, error) {
	var failed []string
	for _, i := range images {
		switch i.State {
		case wire.ImageReady:
		case wire.ImageFailed:
			failed = append(failed, i.Image)
		default:
			return false, nil
		}
	}
	if len(failed) > 0 {
		return true, fmt.Errorf("not ready: %s; the daemon tries again", strings.Join(failed, ", "))
	}
	return true, nil
}
