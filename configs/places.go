package configs

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// places knows where each key and table of a file is. The zero value knows none.
type places struct {
	file  string
	lines []string
	keys  map[string]unstable.Range
	texts map[string]unstable.Range // those of lists, as KEY[INDEX]
	at    []int                     // where each line begins
	items map[string]int            // how many tables each list of tables has
}

// maxKeys is how many keys and tables a file may have. The time of the decoder grows with the square of their number.
const maxKeys = 10_000

// findPlaces indexes data up to its first fault of syntax, or until there are more than maxKeys.
func findPlaces(file string, data []byte) places {
	p := places{file: file, lines: strings.Split(string(data), "\n"), keys: map[string]unstable.Range{}, texts: map[string]unstable.Range{}, items: map[string]int{}}
	offset := 0
	for _, line := range p.lines {
		p.at = append(p.at, offset)
		offset += len(line) + 1
	}
	var parser unstable.Parser
	parser.Reset(data)
	table := ""
	for len(p.keys) <= maxKeys && parser.NextExpression() {
		expression := parser.Expression()
		switch expression.Kind {
		case unstable.KeyValue:
			p.keyValue(table, expression)
		case unstable.ArrayTable:
			table = p.item(expression)
		default:
			table = p.key("", expression.Key())
		}
	}
	return p
}

// keyValue indexes a key in a table, and those of an inline table below it.
func (p places) keyValue(table string, node *unstable.Node) {
	key := p.key(table, node.Key())
	switch node.Value().Kind {
	case unstable.Array:
		p.list(key, node.Value())
		return
	case unstable.InlineTable:
	default:
		return
	}
	for children := node.Value().Children(); children.Next(); {
		p.keyValue(key, children.Node())
	}
}

// list indexes the texts of a list, which may have a line each.
func (p places) list(key string, list *unstable.Node) {
	i := 0
	for items := list.Children(); items.Next(); i++ {
		if items.Node().Kind == unstable.String {
			p.texts[fmt.Sprintf("%s[%d]", key, i)] = items.Node().Raw
		}
	}
}

// item indexes one table of a list of tables and returns its key.
func (p places) item(node *unstable.Node) string {
	list := p.key("", node.Key())
	item := fmt.Sprintf("%s[%d]", list, p.items[list])
	p.items[list]++
	for parts := node.Key(); parts.Next(); {
		p.keys[item] = parts.Node().Raw // the last part's stays
	}
	return item
}

// key indexes each part of a dotted key and returns the whole. The first place of a part that comes again counts.
func (p places) key(table string, parts unstable.Iterator) string {
	for parts.Next() {
		table = join(table, string(parts.Node().Data))
		if !p.has(table) {
			p.keys[table] = parts.Node().Raw
		}
	}
	return table
}

func (p places) has(key string) bool {
	_, ok := p.keys[key]
	return ok
}

// line returns the line of the key, or of the nearest table above it, or 0.
func (p places) line(key string) int {
	if text, ok := p.texts[key]; ok {
		line, _ := p.position(text)
		return line
	}
	for key != "" && !p.has(key) {
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	if !p.has(key) {
		return 0
	}
	line, _ := p.position(p.keys[key])
	return line
}

// position returns the line and the column in which something begins. The parser's own way to them counts all lines before.
func (p places) position(of unstable.Range) (line, column int) {
	line, found := slices.BinarySearch(p.at, int(of.Offset))
	if found {
		line++
	}
	return line, int(of.Offset) - p.at[line-1] + 1
}

// pos returns FILE:LINE of the key.
func (p places) pos(key string) string { return fmt.Sprintf("%s:%d", p.file, p.line(key)) }

// draw returns the line of a key, with the key underlined, to be put below a message.
func (p places) draw(key string) string {
	at, ok := p.keys[key]
	if !ok {
		return ""
	}
	line, column := p.position(at)
	number := strconv.Itoa(line)
	indent := strings.Repeat(" ", len(number))
	under := strings.Repeat(" ", column-1) + strings.Repeat("~", int(at.Length))
	return fmt.Sprintf("\n%s| %s\n%s| %s", number, strings.TrimSuffix(p.lines[line-1], "\r"), indent, under)
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// join writes a key below a table the way TOML does.
func join(table, key string) string {
	if !bareKey.MatchString(key) {
		key = strconv.Quote(key)
	}
	if table == "" {
		return key
	}
	return table + "." + key
}
