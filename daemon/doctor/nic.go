package doctor

import (
	"errors"

	"sandpool/runtime/nic"
)

// nicChecks judge whether sandboxes can have network interfaces, where a template wants them.
func nicChecks(h Host) []Result {
	if _, wanted := h.Config.TemplateWithInterface(); !wanted {
		return nil
	}
	const name = "interfaces"
	if lack, ok := errors.AsType[*nic.Lack](h.NIC); ok {
		return []Result{failure(name, lack.Mend, "a template has network.mode \"nic\", and %s", lack.What)}
	}
	if h.NIC != nil {
		return []Result{failure(name, "sandpoold --check-config "+h.ConfigPath, "a template has network.mode \"nic\", and that cannot be tried: %v", h.NIC)}
	}
	return []Result{good(name, "namespaces and nf_tables, and the host forwards")}
}
