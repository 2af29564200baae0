package request

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sandpool/daemon/wire"
	"sandpool/runtime/egress"
)

// CompletePresets offers the presets that this version has.
var CompletePresets = cobra.FixedCompletions(egress.Presets(), cobra.ShellCompDirectiveNoFileComp)

// Narrowing are the flags by which a claim narrows what it may connect to.
type Narrowing struct {
	allow, deny, preset, secrets   []string
	none                           bool
	maxConnections, rate, maxBytes int
}

// Flags defines the flags.
func (n *Narrowing) Flags(flags *pflag.FlagSet) {
	flags.StringArrayVar(&n.allow, "allow", nil, "allow only what this `rule` is about, of what the template allows: a name, *.NAME, an address or a network, and perhaps :PORT; may be repeated")
	flags.StringArrayVar(&n.deny, "deny", nil, "deny what this `rule` is about; may be repeated")
	flags.StringArrayVar(&n.preset, "preset", nil, "allow what the preset of this `name` does, as by --allow; may be repeated")
	flags.StringArrayVar(&n.secrets, "use-secret", nil, "send requests with the secret of this `name` only, of those that the template uses; may be repeated")
	flags.IntVar(&n.maxConnections, "max-connections", 0, "have at most this `number` of connections open at once; 0: as the template says")
	flags.IntVar(&n.rate, "rate", 0, "pass at most this `number` of bytes a second in each direction; 0: as the template says")
	flags.IntVar(&n.maxBytes, "max-bytes", 0, "pass at most this `number` of bytes in both directions together; 0: as the template says")
	flags.BoolVar(&n.none, "no-network", false, "allow no connection at all")
}

// Rules are what the flags say; nil if they say nothing.
func (n *Narrowing) Rules() *wire.NetworkRules {
	if len(n.allow)+len(n.deny)+len(n.preset)+len(n.secrets) == 0 && n.maxConnections == 0 && n.rate == 0 && n.maxBytes == 0 && !n.none {
		return nil
	}
	rules := wire.NetworkRules{
		Allow: n.allow, Deny: n.deny, Preset: n.preset, Secrets: n.secrets, MaxConnections: n.maxConnections, Rate: n.rate, MaxBytes: n.maxBytes,
	}
	if n.none {
		rules.Mode = egress.None
	}
	return &rules
}
