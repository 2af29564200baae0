package testhost

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Settings are those of a daemon, by table and key: texts, numbers and truth values.
type Settings map[string]map[string]any

// Config is the text of the configuration of a daemon on this host that removes everything when it stops. Settings add to what is the
// host's own or replace it; more, such as tables of templates, is the end of the text.
func (h *Host) Config(settings Settings, more ...string) string {
	all := Settings{
		"daemon":     {"on_stop": "remove"},
		"containerd": {"address": h.Address, "namespace": h.Namespace},
		"runsc":      {"path": h.Runsc, "init": h.Init, "canary_timeout": "1m"},
	}
	for table, keys := range settings {
		if all[table] == nil {
			all[table] = map[string]any{}
		}
		maps.Copy(all[table], keys)
	}
	var text strings.Builder
	text.WriteString("version = 1\n")
	for _, table := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&text, "\n[%s]\n", table)
		for _, key := range slices.Sorted(maps.Keys(all[table])) {
			fmt.Fprintf(&text, "%s = %#v\n", key, all[table][key])
		}
	}
	return text.String() + strings.Join(more, "")
}

// NoReserves are the settings by which a daemon keeps nothing of the host free: it may be short for reasons of its own.
var NoReserves = map[string]any{"memory_mib": 0, "disk_mib": 0, "pids": 0, "files": 0}
