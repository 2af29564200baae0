package nic

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestListsAreReadTwice(t *testing.T) {
	broken := errors.New("broken")
	all, part := []string{"a", "b", "c"}, []string{"a", "c"}
	for name, c := range map[string]struct {
		lists [][]string // the last one comes again; nil: an error
		want  []string
	}{
		"nothing changes":      {[][]string{all}, all},
		"nothing is there":     {[][]string{{}}, []string{}},
		"one was left out":     {[][]string{part, all}, all},
		"the first is broken":  {[][]string{nil}, nil},
		"the second is broken": {[][]string{all, nil}, nil},
	} {
		got, err := steady(func() ([]string, error) {
			next := c.lists[0]
			if len(c.lists) > 1 {
				c.lists = c.lists[1:]
			}
			if next == nil {
				return nil, broken
			}
			return next, nil
		})
		if !slices.Equal(got, c.want) || errors.Is(err, broken) != (c.want == nil) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	n := 0
	if _, err := steady(func() ([]string, error) { n++; return []string{fmt.Sprint(n)}, nil }); err == nil {
		t.Error("what changes all the time was listed")
	}
}
