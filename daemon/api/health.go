package api

import (
	"io"
	"net/http"
	"slices"
)

func (a *api) getInfo(w http.ResponseWriter, r *http.Request) error {
	who, _ := actorOf(r.Context())
	info := a.Info
	info.Promised, info.Warnings = a.Promised(), slices.Concat(info.Warnings, a.detours.Warnings())
	if !who.operates() {
		info.Warnings, info.Canaries = nil, slices.Clone(info.Canaries)
		for i, c := range info.Canaries {
			info.Canaries[i].Reason = who.reason(c.Reason)
		}
	}
	return answerJSON(w, http.StatusOK, info)
}

// getHealth says that the process is up and answers, no more.
func (a *api) getHealth(w http.ResponseWriter, _ *http.Request) error { return answerOK(w) }

// getReady says whether claims can be served.
func (a *api) getReady(w http.ResponseWriter, _ *http.Request) error {
	if err := a.Ready(); err != nil {
		return err
	}
	return answerOK(w)
}

func (a *api) getMetrics(w http.ResponseWriter, r *http.Request) error {
	who, _ := actorOf(r.Context())
	a.Metrics.Handler(who.operates()).ServeHTTP(w, r)
	return nil
}

func answerOK(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := io.WriteString(w, "ok\n")
	return err
}
