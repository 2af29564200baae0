package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/listing"
	"sandpool/daemon/wire"
)

func (a *app) imagesCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "images",
		Short: "Show the templates' images, and how far those are that are being fetched",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return a.watch(cmd.Context(), func() (bool, error) {
					images, err := a.images(cmd.Context())
					if err != nil {
						return false, err
					}
					return settledImages(images)
				})
			}
			_, err := a.images(cmd.Context())
			return err
		},
	}
	a.outputFlags(cmd)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show them anew when something changes, until all are ready or have failed")
	return cmd
}

// images prints the images and returns them.
func (a *app) images(ctx context.Context) ([]wire.Image, error) {
	images, err := a.daemon.Images(ctx)
	if err != nil {
		return nil, err
	}
	return images, a.printTable(wire.ImageList{Images: images}, listing.Images(images), "no images")
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
