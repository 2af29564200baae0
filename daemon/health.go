package daemon

import (
	"io"
	"net/http"
)

func (a *api) getInfo(w http.ResponseWriter, _ *http.Request) error {
	return answerJSON(w, http.StatusOK, a.info)
}

// getHealth says that the process is up and answers, no more.
func (a *api) getHealth(w http.ResponseWriter, _ *http.Request) error { return answerOK(w) }

// getReady says whether claims can be served.
func (a *api) getReady(w http.ResponseWriter, _ *http.Request) error {
	if err := a.ready(); err != nil {
		return err
	}
	return answerOK(w)
}

func (a *api) getMetrics(w http.ResponseWriter, r *http.Request) error {
	a.metrics.handler.ServeHTTP(w, r)
	return nil
}

func answerOK(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := io.WriteString(w, "ok\n")
	return err
}
