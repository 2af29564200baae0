package listing

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// Claims is a table of claims.
func Claims(claims []wire.Claim) *table.Table {
	t := table.New(table.Column{Name: "ID"}, table.Column{Name: "TEMPLATE", Cut: true, Drop: 4}, table.Column{Name: "STATE"}, table.Column{Name: "SOURCE", Drop: 5},
		table.Column{Name: "AGE", Right: true, Drop: 3}, table.Column{Name: "ENDS IN", Right: true}, table.Column{Name: "OWNER", Drop: 6},
		table.Column{Name: "STAGE", Wide: true}, table.Column{Name: "TYPE", Wide: true}, table.Column{Name: "EXTENDED", Wide: true, Right: true}, table.Column{Name: "POOL", Wide: true},
		table.Column{Name: "SANDBOX", Wide: true}, table.Column{Name: "REQUEST ID", Wide: true}, table.Column{Name: "LABELS", Wide: true}, table.Column{Name: "REASON", Cut: true, Rare: true})
	for _, c := range claims {
		t.Styled(claimStyle(c), c.ID, c.Template, c.State, c.Source, Ago(c.ClaimedAt), Until(c.ExpiresAt), c.Owner,
			c.Stage, c.Type, fmt.Sprintf("%d/%d", c.Extended, c.Extensions), c.Pool, c.Sandbox, c.RequestID, labels(c.Metadata), c.Reason)
	}
	return t
}

// claimStyle is red for a dead claim, and yellow for one that was warned or is in its grace period.
func claimStyle(c wire.Claim) table.Style {
	switch {
	case c.State == wire.ClaimDead:
		return table.Bad
	case c.Stage == string(lifetime.Warned) || c.Stage == string(lifetime.Grace):
		return table.Soon
	default:
		return table.Plain
	}
}

func labels(metadata map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		all = append(all, name+"="+metadata[name])
	}
	return strings.Join(all, ",")
}

// Selection are the flags by which claims are chosen and put in an order.
type Selection struct {
	Labels              []string
	template, state, by string
}

// states are what --state takes: the states of claims, and the stages of their ends.
var states = []string{string(wire.ClaimRunning), string(wire.ClaimPaused), string(wire.ClaimSuspended), string(wire.ClaimDead), string(lifetime.Warned), string(lifetime.Grace)}

// orders are what --sort takes.
var orders = map[string]func(a, b wire.Claim) int{
	"id":       func(a, b wire.Claim) int { return cmp.Compare(a.ID, b.ID) },
	"age":      func(a, b wire.Claim) int { return b.ClaimedAt.Compare(a.ClaimedAt) }, // the youngest first
	"end":      func(a, b wire.Claim) int { return a.ExpiresAt.Compare(b.ExpiresAt) },
	"template": func(a, b wire.Claim) int { return cmp.Compare(a.Template, b.Template) },
	"state":    func(a, b wire.Claim) int { return cmp.Compare(a.State, b.State) },
	"owner":    func(a, b wire.Claim) int { return cmp.Compare(a.Owner, b.Owner) },
}

// Flags defines the flags, and what completes them.
func (s *Selection) Flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVarP(&s.Labels, "label", "l", nil, "only claims with this label `NAME=VALUE`; may be repeated")
	flags.Func("template", "only claims of this `template`", func(text string) error {
		if text == "" { // a variable that is not set would choose all claims, also to release them
			return errors.New("want the name of a template")
		}
		s.template = text
		return nil
	})
	oneOf(flags, &s.state, "state", "only claims in this `state`, or in this stage of their end", states)
	complete(cmd, "state", states)
}

// SortFlag defines the flag for the order.
func (s *Selection) SortFlag(cmd *cobra.Command) {
	names := slices.Sorted(maps.Keys(orders))
	oneOf(cmd.Flags(), &s.by, "sort", "sort by this `column`", names)
	complete(cmd, "sort", names)
}

// Given tells whether claims are chosen.
func (s *Selection) Given() bool { return len(s.Labels) > 0 || s.template != "" || s.state != "" }

// Of are the chosen claims, in order. Those with the labels are chosen by the daemon.
func (s *Selection) Of(claims []wire.Claim) []wire.Claim {
	claims = slices.DeleteFunc(claims, func(c wire.Claim) bool {
		return s.template != "" && c.Template != s.template || s.state != "" && string(c.State) != s.state && c.Stage != s.state
	})
	if order := orders[s.by]; order != nil {
		slices.SortStableFunc(claims, order)
	}
	return claims
}

// oneOf defines a flag that takes one of some words.
func oneOf(flags *pflag.FlagSet, to *string, name, usage string, words []string) {
	flags.Func(name, usage+": "+strings.Join(words, ", "), func(text string) error {
		if !slices.Contains(words, text) {
			return fmt.Errorf("want one of %s", strings.Join(words, ", "))
		}
		*to = text
		return nil
	})
}

// complete has a flag complete to some words.
func complete(cmd *cobra.Command, flag string, words []string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag is missing: a slip in this program
	}
}
