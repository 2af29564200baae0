package main

import (
	"net/http"
	"strings"
	"testing"

	"sandpool/daemon/wire"
)

func (f *fakeDaemon) templates(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, wire.TemplateList{Templates: []wire.Template{
		{Name: "default", Image: "sandpool.local/busybox:1", State: wire.TemplateReady, CPUs: 1.5, MemoryMiB: 2048, PIDs: 1024, Snapshot: "ck-1"},
		{Name: "broken", Image: "sandpool.local/none:1", State: wire.TemplateFailed, Reason: "it is not in containerd"},
	}})
}

func (f *fakeDaemon) checkTemplate(w http.ResponseWriter, r *http.Request) {
	steps := []wire.TemplateStep{{Step: "image", OK: true, TookMS: 12.3}, {Step: "create", OK: true, TookMS: 45}}
	switch r.PathValue("name") {
	case "default":
	case "broken":
		steps[1] = wire.TemplateStep{Step: "probe", Detail: `command "foo" is not in the image`}
	default:
		refuse(w, http.StatusNotFound, "not_found", "no such template")
		return
	}
	reply(w, http.StatusOK, wire.TemplateCheck{Steps: steps})
}

func TestTemplates(t *testing.T) {
	f := newFake(t)
	code, out, errOut := f.sandpool("templates")
	want := `TEMPLATE IMAGE CPUS MEMORY DISK PIDS SNAPSHOT STATE REASON
default sandpool.local/busybox:1 1.5 2 GiB – 1024 ck-1 ready –
broken sandpool.local/none:1 – – – – – failed it is not in containerd
`
	if code != exitOK || fields(out) != strings.TrimSpace(want) {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
}

func TestTemplateCheck(t *testing.T) {
	f := newFake(t)
	for _, test := range []struct {
		name string
		code int
		want string
	}{
		{"default", exitOK, "STEP RESULT TOOK\nimage ok 12 ms\ncreate ok 45 ms"},
		{"broken", exitError, "STEP RESULT TOOK DETAIL\nimage ok 12 ms –\nprobe FAILED – command \"foo\" is not in the image"},
		{"unknown", exitNotFound, ""},
	} {
		if code, out, errOut := f.sandpool("template", "check", test.name); code != test.code || fields(out) != test.want {
			t.Errorf("%s: exit %d: %s%s; want %d and\n%s", test.name, code, out, errOut, test.code, test.want)
		}
	}
	if code, out, _ := f.sandpool("template", "check", "broken", "--json"); code != exitError || !strings.Contains(out, `"ok": false`) && !strings.Contains(out, `"ok":false`) {
		t.Errorf("JSON: exit %d: %s", code, out)
	}
}
