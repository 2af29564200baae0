package api

import (
	"net/http"
	"strconv"

	"sandpool/daemon/processes"
	"sandpool/runtime"
)

// connectPort joins the client to a TCP port of a claim's sandbox, as execInClaim does to a command.
func (a *api) connectPort(w http.ResponseWriter, r *http.Request) error {
	claim, err := a.find(r)
	if err != nil {
		return err
	}
	port, err := strconv.ParseUint(r.PathValue("port"), 10, 16)
	if err != nil || port == 0 {
		return invalid("port: %.64q: want 1 to 65535", r.PathValue("port"))
	}
	leave, err := a.admitStream(r)
	if err != nil {
		return err
	}
	defer leave()
	claim, done, err := a.use(r, claim)
	if err != nil {
		return err
	}
	defer done()
	return a.converse(w, r, claim, func(spec runtime.ExecSpec) (processes.Process, error) {
		return a.Port(r.Context(), claim.Sandbox, int(port), spec) //nolint:gosec // of 16 bits
	})
}
