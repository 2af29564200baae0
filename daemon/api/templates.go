package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/containerd/errdefs"

	"sandpool/daemon/templates"
	"sandpool/daemon/wire"
)

// Catalogue is what the API needs to know of the templates, and to try one; see templates.Catalogue.
type Catalogue interface {
	State(name string) templates.State
	Try(ctx context.Context, name string) ([]wire.TemplateStep, error)
}

var _ Catalogue = templates.Catalogue{}

func (a *api) listTemplates(w http.ResponseWriter, r *http.Request) error {
	who, _ := actorOf(r.Context())
	cfg := a.Config()
	list := wire.TemplateList{Templates: []wire.Template{}}
	for _, name := range slices.Sorted(maps.Keys(cfg.Templates)) {
		t, state := cfg.Templates[name], a.Catalogue.State(name)
		entry := wire.Template{
			Name: name, Image: who.image(t.Image), Digest: state.Digest, Pool: wire.PoolName(a.Info.Region, name), State: wire.TemplateReady,
			Snapshot: state.Snapshot, Platform: t.Platform, CPUs: t.CPUs, MemoryMiB: t.MemoryMiB, DiskMiB: t.DiskMiB, PIDs: t.PIDs,
		}
		switch {
		case state.Err != nil:
			entry.State, entry.Reason = wire.TemplateFailed, who.reason(state.Err.Error())
		case !state.Ready || state.Busy:
			entry.State = wire.TemplatePreparing
		}
		list.Templates = append(list.Templates, entry)
	}
	return answerJSON(w, http.StatusOK, list)
}

// checkTemplate makes a template ready anew, starts one sandbox of it and destroys that.
func (a *api) checkTemplate(w http.ResponseWriter, r *http.Request) error {
	if err := mayOperate(r, "check templates"); err != nil {
		return err
	}
	name := r.PathValue("name")
	if _, ok := a.Config().Templates[name]; !ok {
		return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("no such template: %q", name))
	}
	if err := decode(w, r, &struct{}{}); err != nil {
		return err
	}
	steps, err := a.Catalogue.Try(r.Context(), name)
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, wire.TemplateCheck{Steps: steps})
}
