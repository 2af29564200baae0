package configs

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// fault is one thing that is wrong, and where.
type fault struct {
	file         string
	line, column int // 0 when not known
	key          string
	text         string
}

func (f fault) Error() string {
	var place strings.Builder
	if f.file != "" {
		place.WriteString(f.file + ":")
	}
	for _, n := range []int{f.line, f.column} {
		if n > 0 {
			fmt.Fprintf(&place, "%d:", n)
		}
	}
	if f.key != "" {
		place.WriteString(" " + f.key + ":")
	}
	return strings.TrimPrefix(place.String()+" "+f.text, " ")
}

func (f fault) compare(other fault) int {
	return cmp.Or(cmp.Compare(f.line, other.line), cmp.Compare(f.column, other.column), cmp.Compare(f.key, other.key))
}

// faults collects what is wrong, one fault a key: what a check says about a value that could not be read is noise.
type faults struct {
	places places
	list   []fault
	seen   map[string]bool // keys of list
	broken bool            // the file could not be read to its end
}

func (f *faults) add(key, format string, args ...any) {
	if f.seen[key] {
		return
	}
	if f.seen == nil {
		f.seen = map[string]bool{}
	}
	f.seen[key] = true
	f.list = append(f.list, fault{file: f.places.file, line: f.places.line(key), key: key, text: fmt.Sprintf(format, args...)})
}

// replaced are keys of earlier versions, and what to use instead.
var replaced = map[string]string{"limits.lifetime": "limits.lifetime_type and [lifetimes.NAME]"}

// unknown adds a key that Config does not have, and draws the place the way the decoder draws faults of syntax.
func (f *faults) unknown(key string, allowed []string) {
	if other, ok := replaced[key]; ok {
		f.add(key, "no longer a key: use %s%s", other, f.places.draw(key))
		return
	}
	f.add(key, "unknown key: want one of %s%s", strings.Join(allowed, ", "), f.places.draw(key))
}

// syntax adds the fault that ended the reading.
func (f *faults) syntax(err error) {
	f.broken = true
	it := fault{file: f.places.file, text: err.Error()}
	if at, ok := errors.AsType[*toml.DecodeError](err); ok {
		it.line, it.column = at.Position()
		it.text = strings.TrimPrefix(at.Error(), "toml: ") + "\n" + at.String()
	}
	f.list = append(f.list, it)
}

// maxShown is how many faults are shown: nobody mends more at once.
const maxShown = 100

// err joins the faults in the order of their lines; nil when there are none.
func (f *faults) err() error {
	slices.SortStableFunc(f.list, fault.compare)
	var errs []error
	for _, it := range f.list[:min(len(f.list), maxShown)] {
		errs = append(errs, it)
	}
	if more := len(f.list) - maxShown; more > 0 {
		errs = append(errs, fault{file: f.places.file, text: fmt.Sprintf("%d more faults are not shown", more)})
	}
	return errors.Join(errs...)
}
