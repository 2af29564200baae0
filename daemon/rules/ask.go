package rules

import (
	"net/url"
	"strconv"

	"sandpool/daemon/wire"
	"sandpool/runtime/egress"
)

// Why asks what would become of a connection.
type Why struct {
	Name string // or an address
	Port int
}

// ParseWhy reads the query of such a request.
func ParseWhy(rawQuery string) (q Why, err error) {
	q.Port = 443
	err = parseQuery(rawQuery, func(key, value string) error {
		switch key {
		case "name":
			q.Name = value
		case "port":
			port, err := strconv.ParseUint(value, 10, 16)
			if err != nil || port == 0 {
				return invalid("port: %.64q: want 1 to 65535", value)
			}
			q.Port = int(port)
		default:
			return invalid("query: unknown parameter %.64q", key)
		}
		return nil
	})
	if err == nil && q.Name == "" {
		err = invalid("name: missing: want the name of a host, or an address")
	}
	return q, err
}

// Closed is the answer of a sandbox without a network.
func Closed(q Why) wire.NetworkWhy {
	v := new(egress.Rules).Name(q.Name, q.Port)
	return wire.NetworkWhy{Name: q.Name, Port: q.Port, Kind: v.Kind, Message: v.Text}
}

// Log asks for what a sandbox did in the network.
type Log struct {
	Since  uint64 // number of an entry, for those behind it
	Follow bool
}

// ParseLog reads the query of such a request.
func ParseLog(rawQuery string) (q Log, err error) {
	err = parseQuery(rawQuery, func(key, value string) (err error) {
		switch key {
		case "since":
			if q.Since, err = strconv.ParseUint(value, 10, 64); err != nil {
				return invalid("since: %.64q: want the number of an entry", value)
			}
		case "follow":
			if q.Follow, err = strconv.ParseBool(value); err != nil {
				return invalid("follow: %.64q: want true or false", value)
			}
		default:
			return invalid("query: unknown parameter %.64q", key)
		}
		return nil
	})
	return q, err
}

// parseQuery calls take for each parameter, with the last of its values.
func parseQuery(rawQuery string, take func(key, value string) error) error {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return invalid("query: %v", err)
	}
	for key, values := range query {
		if err := take(key, values[len(values)-1]); err != nil {
			return err
		}
	}
	return nil
}
