package configs

import (
	"bytes"
	"strings"
)

// maxDepth is how deep a value or a dotted key may be nested; what this package knows needs 4. The time of a decoder that meets thousands
// grows with their square, and its stack with their number.
const maxDepth = 32

// tooDeep returns the line of the first value or key that is nested too deep, or 0. It knows enough of TOML to pass over text and comments.
func tooDeep(data []byte) int {
	line, brackets, dots := 1, 0, 0
	for len(data) > 0 {
		skip := 1
		switch c := data[0]; c {
		case '#':
			skip = end(data, "\n", 1) - 1
		case '"', '\'':
			skip = quoted(data)
			line += bytes.Count(data[:skip], []byte("\n"))
		case '\n':
			line, dots = line+1, 0
		case '[', '{':
			brackets, dots = brackets+1, 0
		case ']', '}':
			brackets, dots = max(brackets-1, 0), 0
		case '=', ',':
			dots = 0
		case '.':
			dots++
		}
		if brackets > maxDepth || dots > maxDepth {
			return line
		}
		data = data[max(skip, 1):]
	}
	return 0
}

// quoted returns the length of the text that data begins with. One that is not closed ends with its line, or with the data if it may have lines.
func quoted(data []byte) int {
	mark := string(data[:1])
	escapes := mark == `"`
	if long := strings.Repeat(mark, 3); bytes.HasPrefix(data, []byte(long)) {
		for at := 3; ; {
			at = end(data, long, at)
			if !escapes || !escaped(data[:max(at-3, 0)]) || at == len(data) {
				return at
			}
			at -= 2
		}
	}
	for at := 1; at < len(data); at++ {
		switch {
		case data[at] == '\n':
			return at
		case data[at] == '\\' && escapes:
			at++
		case data[at] == mark[0]:
			return at + 1
		}
	}
	return len(data)
}

// escaped tells whether what follows is, by an odd number of backslashes.
func escaped(data []byte) bool {
	return (len(data)-len(bytes.TrimRight(data, `\`)))%2 == 1
}

// end returns what follows the first mark in data from an index on, or the length of data.
func end(data []byte, mark string, from int) int {
	if i := bytes.Index(data[from:], []byte(mark)); i >= 0 {
		return from + i + len(mark)
	}
	return len(data)
}
