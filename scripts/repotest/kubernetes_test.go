package repotest

import (
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"sandpool/configs"
	"sandpool/runtime/runsc"
)

// manifest is what is looked at of an object of Kubernetes.
type manifest struct {
	Kind       string
	Metadata   struct{ Name string }
	Handler    string
	Scheduling map[string]any
	Data       map[string]string
	Spec       struct {
		RuntimeClassName string `yaml:"runtimeClassName"`
		Containers       []any
		Groups           []any
	}
}

// manifests are the objects of a file, which must all be of a kind.
func manifests(t *testing.T, path, kind string) (all []manifest) {
	t.Helper()
	defer func() {
		if len(all) == 0 || slices.ContainsFunc(all, func(m manifest) bool { return m.Kind != kind }) {
			t.Errorf("%s has %+v, want objects of kind %s", path, all, kind)
		}
	}()
	for d := yaml.NewDecoder(strings.NewReader(read(t, path))); ; {
		var m manifest
		err := d.Decode(&m)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
}

// TestManifests runs the test of the manifests by their published types, which is in a module of its own.
func TestManifests(t *testing.T) { run(t, "go", "-C", "scripts/stack/kubernetes", "test", ".") }

func TestRuntimeClasses(t *testing.T) {
	classes := map[string]string{} // handlers by name
	for _, class := range manifests(t, "configs/kubernetes/runtimeclass.yaml", "RuntimeClass") {
		if class.Scheduling == nil {
			t.Errorf("class %s does not say on which nodes it is", class.Metadata.Name)
		}
		classes[class.Metadata.Name] = class.Handler
	}
	if want := map[string]string{"gvisor": "runsc", "gvisor-systrap": "runsc", "gvisor-kvm": "runsc-kvm"}; !maps.Equal(classes, want) {
		t.Errorf("classes are %v, want %v", classes, want)
	}
	handlers := slices.Compact(slices.Sorted(maps.Values(classes)))
	if !slices.Equal(handlers, runsc.Handlers()) {
		t.Errorf("the classes want handlers %v, containerd is given %v", handlers, runsc.Handlers())
	}
	for _, pod := range manifests(t, "configs/kubernetes/pod.yaml", "Pod") {
		if classes[pod.Spec.RuntimeClassName] == "" || len(pod.Spec.Containers) == 0 {
			t.Errorf("pod %s is of class %q, with %d containers", pod.Metadata.Name, pod.Spec.RuntimeClassName, len(pod.Spec.Containers))
		}
	}
}

func TestConfigMap(t *testing.T) {
	for _, object := range manifests(t, "configs/kubernetes/configmap.yaml", "ConfigMap") {
		if _, err := configs.Parse("configmap.yaml", []byte(object.Data["sandpoold.toml"])); err != nil || len(object.Data) != 1 {
			t.Errorf("%+v: %v", object, err)
		}
	}
}

func TestPrometheusRule(t *testing.T) {
	for _, object := range manifests(t, "configs/kubernetes/prometheusrule.yaml", "PrometheusRule") {
		if len(object.Spec.Groups) == 0 {
			t.Error("it has no alerts")
		}
	}
	_, rules, _ := strings.Cut(read(t, "configs/prometheus/rules.yml"), "\ngroups:\n")
	_, copied, found := strings.Cut(read(t, "configs/kubernetes/prometheusrule.yaml"), "\n  groups:\n")
	if !found || strings.ReplaceAll("\n"+copied, "\n  ", "\n") != "\n"+rules {
		t.Error("the alerts for Kubernetes are not those of configs/prometheus/rules.yml")
	}
}
