package configs

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// places knows where each key and table of a file is. The zero value knows none.
type places struct {
	file  string
	lines []string
	keys  map[string]unstable.Shape
	items map[string]int // how many tables each list of tables has
}

// findPlaces indexes data up to its first fault of syntax.
func findPlaces(file string, data []byte) places {
	p := places{file: file, lines: strings.Split(string(data), "\n"), keys: map[string]unstable.Shape{}, items: map[string]int{}}
	var parser unstable.Parser
	parser.Reset(data)
	table := ""
	for parser.NextExpression() {
		expression := parser.Expression()
		switch expression.Kind {
		case unstable.KeyValue:
			p.keyValue(&parser, table, expression)
		case unstable.ArrayTable:
			table = p.item(&parser, expression)
		default:
			table = p.key(&parser, "", expression.Key())
		}
	}
	return p
}

// keyValue indexes a key in a table, and those of an inline table below it.
func (p places) keyValue(parser *unstable.Parser, table string, node *unstable.Node) {
	key := p.key(parser, table, node.Key())
	if node.Value().Kind != unstable.InlineTable {
		return
	}
	for children := node.Value().Children(); children.Next(); {
		p.keyValue(parser, key, children.Node())
	}
}

// item indexes one table of a list of tables and returns its key.
func (p places) item(parser *unstable.Parser, node *unstable.Node) string {
	list := p.key(parser, "", node.Key())
	item := fmt.Sprintf("%s[%d]", list, p.items[list])
	p.items[list]++
	for parts := node.Key(); parts.Next(); {
		p.keys[item] = parser.Shape(parts.Node().Raw) // the last part's stays
	}
	return item
}

// key indexes each part of a dotted key and returns the whole. The first place of a part that comes again counts.
func (p places) key(parser *unstable.Parser, table string, parts unstable.Iterator) string {
	for parts.Next() {
		table = join(table, string(parts.Node().Data))
		if !p.has(table) {
			p.keys[table] = parser.Shape(parts.Node().Raw)
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
	for key != "" && !p.has(key) {
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return p.keys[key].Start.Line
}

// pos returns FILE:LINE of the key.
func (p places) pos(key string) string { return fmt.Sprintf("%s:%d", p.file, p.line(key)) }

// draw returns the line of a key, with the key underlined, to be put below a message.
func (p places) draw(key string) string {
	at, ok := p.keys[key]
	if !ok {
		return ""
	}
	number := strconv.Itoa(at.Start.Line)
	indent := strings.Repeat(" ", len(number))
	under := strings.Repeat(" ", at.Start.Column-1) + strings.Repeat("~", at.End.Column-at.Start.Column)
	return fmt.Sprintf("\n%s| %s\n%s| %s", number, strings.TrimSuffix(p.lines[at.Start.Line-1], "\r"), indent, under)
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
