package egress

import "strings"

// SameHeader tells whether a server may take two headers for the same one: to programs behind CGI a dash is as good as what is below it.
func SameHeader(a, b string) bool {
	return strings.EqualFold(strings.ReplaceAll(a, "_", "-"), strings.ReplaceAll(b, "_", "-"))
}
