package files

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
)

// maxPath is the length of a path in bytes that Linux takes.
const maxPath = 4095

// ParseOp makes an operation of a request's parameters, of which only those that are allowed, and user, may be given. A switch that is off is left
// out.
func ParseOp(name, rawQuery string, allowed []string) (Op, error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return Op{}, invalid("query: %v", err)
	}
	args := map[string]string{}
	for key, values := range query {
		if key != "user" && !slices.Contains(allowed, key) {
			return Op{}, invalid("query: unknown parameter %.64q: want user, %s", key, strings.Join(allowed, ", "))
		}
		if len(values) > 1 {
			return Op{}, invalid("query: %s is given twice", key)
		}
		value, err := argument(key, values[0])
		if err != nil {
			return Op{}, err
		}
		if value != "" {
			args[key] = value
		}
	}
	for _, needed := range []string{"path", "to", "owner"} {
		if slices.Contains(allowed, needed) && args[needed] == "" {
			return Op{}, invalid("query: %s is missing", needed)
		}
	}
	switch {
	case args["append"] != "" && args["in_place"] != "":
		return Op{}, invalid("query: append and in_place: want one of them")
	case args["append"] != "":
		name = "append"
	case args["in_place"] != "":
		name = "overwrite"
	}
	op := Op{Name: name, User: args["user"], Args: args}
	delete(args, "user")
	return op, nil
}

// invalid is an error that the client can mend.
func invalid(format string, args ...any) error {
	return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf(format, args...))
}

// argument checks a parameter, and returns it as the init takes it.
func argument(key, value string) (string, error) {
	if strings.ContainsRune(value, 0) || len(value) > maxPath {
		return "", invalid("query: %s: want at most %d bytes, and no NUL", key, maxPath)
	}
	switch key {
	case "append", "in_place", "parents", "recursive", "follow", "owners":
		on, err := strconv.ParseBool(value)
		if err != nil {
			return "", invalid("query: %s: %.64q: want true or false", key, value)
		}
		if !on {
			return "", nil
		}
		return "1", nil
	case "mode":
		if _, err := strconv.ParseUint(value, 8, 12); err != nil {
			return "", invalid("query: mode: %.64q: want it in octal, at most 7777", value)
		}
	case "offset", "depth":
		if _, err := strconv.ParseUint(value, 10, 62); err != nil {
			return "", invalid("query: %s: %.64q: want a whole number", key, value)
		}
	case "mtime":
		at, err := time.Parse(time.RFC3339Nano, value)
		if err != nil || at.Year() < 1900 || at.Year() > 2200 {
			return "", invalid("query: mtime: %.64q: want a time such as 2026-01-02T15:04:05Z, of the years 1900 to 2200", value)
		}
		return strconv.FormatInt(at.UnixNano(), 10), nil
	case "as":
		if value != "." && (strings.Contains(value, "/") || value == "..") {
			return "", invalid("query: as: %.64q: want one name, or . for the content of a folder", value)
		}
	}
	return value, nil
}
