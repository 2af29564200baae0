package api

import (
	"maps"
	"net/http"
	"slices"

	"sandpool/configs"
	"sandpool/daemon/wire"
	"sandpool/runtime/image"
)

func (a *api) listImages(w http.ResponseWriter, r *http.Request) error {
	known, err := a.Images(r.Context())
	if err != nil {
		return err
	}
	who, _ := actorOf(r.Context())
	list := wire.ImageList{Images: withWaiting(known, a.Config().Templates)}
	for i, image := range list.Images {
		list.Images[i].Image, list.Images[i].Error = who.image(image.Image), who.reason(image.Error)
	}
	return answerJSON(w, http.StatusOK, list)
}

// withWaiting adds to the images that the runtime knows those of templates whose turn has not come.
func withWaiting(known []image.Status, templates map[string]configs.Template) []wire.Image {
	byRef := map[string]wire.Image{}
	for _, s := range known {
		byRef[s.Ref] = wire.Image{
			Image: s.Ref, Digest: s.Digest, State: string(s.State), Templates: s.Templates, Layers: s.Layers, LayersTotal: s.LayersTotal,
			Bytes: s.Bytes, BytesTotal: s.BytesTotal, Error: s.Error, Since: &s.Since,
		}
	}
	for _, name := range slices.Sorted(maps.Keys(templates)) {
		ref := templates[name].Image
		image, isKnown := byRef[ref]
		if !isKnown {
			image = wire.Image{Image: ref, State: wire.ImageWaiting}
		}
		if image.State == wire.ImageWaiting {
			image.Templates = append(image.Templates, name)
			byRef[ref] = image
		}
	}
	list := make([]wire.Image, 0, len(byRef))
	for _, ref := range slices.Sorted(maps.Keys(byRef)) {
		list = append(list, byRef[ref])
	}
	return list
}
