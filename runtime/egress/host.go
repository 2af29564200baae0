package egress

import (
	"errors"
	"fmt"
	"strings"
)

// maxHost is the longest name of DNS as text, without the dot at its end.
const maxHost = 253

// ParseHost reads the name of a host, and gives its only form: lower case, without a dot at the end. It refuses all that a resolver may take for
// something else: addresses, numbers and names that end in one, characters that DNS has no names with.
func ParseHost(text string) (name string, err error) {
	name, err = parseHost(text)
	if err != nil {
		return "", fmt.Errorf("%s is not the name of a host: %w", quote(text), err)
	}
	return name, nil
}

func parseHost(text string) (string, error) {
	name := strings.TrimSuffix(text, ".")
	if name == "" {
		return "", errors.New("it is empty")
	}
	if len(name) > maxHost {
		return "", fmt.Errorf("it has more than %d bytes", maxHost)
	}
	name = strings.ToLower(name)
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if err := checkLabel(label); err != nil {
			return "", err
		}
		last = label
	}
	if isNumber(last) {
		return "", errors.New("it ends in a number, as an address does; write an address in full")
	}
	return name, nil
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("it has an empty part")
	case len(label) > 63:
		return errors.New("a part of it has more than 63 bytes")
	case label[0] == '-' || label[len(label)-1] == '-':
		return errors.New("a part of it begins or ends with a hyphen")
	}
	for _, c := range []byte(label) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
		case c >= 0x80:
			return errors.New("it has characters beyond ASCII; write its form that begins with xn--")
		default:
			return fmt.Errorf("it has the character %q", c)
		}
	}
	return nil
}

// isNumber tells what inet_aton would take for a part of an address: digits, also octal ones, or hexadecimal ones.
func isNumber(label string) bool {
	digits := "0123456789"
	if hex, is := strings.CutPrefix(label, "0x"); is {
		label, digits = hex, "0123456789abcdef"
	}
	return strings.Trim(label, digits) == ""
}

// quote shows a stranger's text, as much of it as fits a sentence.
func quote(text string) string {
	if len(text) > 80 {
		return fmt.Sprintf("%q…", text[:80])
	}
	return fmt.Sprintf("%q", text)
}
