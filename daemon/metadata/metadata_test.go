package metadata

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestEncode keeps what owners say, and refuses what a label or a terminal does not take.
func TestEncode(t *testing.T) {
	good := map[string]string{"job": "17", "team/name": "ä = ö"}
	text, err := Encode(good)
	if err != nil || !reflect.DeepEqual(Decode(text), good) {
		t.Errorf("%q, %v", text, err)
	}
	many, long := map[string]string{}, map[string]string{}
	for i := range 33 {
		many[fmt.Sprint("n", i)] = ""
	}
	for i := range 13 {
		long[fmt.Sprint("n", i)] = strings.Repeat("x", 250)
	}
	for want, bad := range map[string]map[string]string{
		"33 names": many, "as JSON": long, "want a name": {"a b": ""}, "want a value": {"a": "\x1b[31m"}, "at most 256 bytes": {"a": strings.Repeat("x", 257)},
	} {
		if _, err := Encode(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if got := Decode("not ours"); got != nil {
		t.Errorf("%v", got)
	}
}

func TestFilter(t *testing.T) {
	text, err := Encode(map[string]string{"a": "1", "b": "2"})
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]bool{
		"": true, "metadata=a=1": true, "metadata=a=1&metadata=b=2": true, "metadata=a=2": false, "metadata=a=1&metadata=a=2": false, "metadata=c=": false,
	} {
		wanted, err := Filter(query)
		if err != nil || wanted(text) != want || wanted("") != (query == "") {
			t.Errorf("%q: %v", query, err)
		}
	}
	for _, query := range []string{"x=1", "metadata=a", "%"} {
		if _, err := Filter(query); err == nil {
			t.Errorf("%q is taken", query)
		}
	}
}
