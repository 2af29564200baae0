package repotest

import (
	"maps"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"sigs.k8s.io/yaml"

	"sandpool/configs"
	"sandpool/runtime/runsc"
)

// manifest decodes a Kubernetes object as its published type; a field that the type does not have is an error.
func manifest[T any](t *testing.T, text string) (object T) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), &object); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return object
}

func TestRuntimeClasses(t *testing.T) {
	classes := map[string]string{} // handlers by name
	for text := range strings.SplitSeq(read(t, "configs/kubernetes/runtimeclass.yaml"), "\n---\n") {
		class := manifest[nodev1.RuntimeClass](t, text)
		if class.Kind != "RuntimeClass" || class.APIVersion != nodev1.SchemeGroupVersion.String() || class.Scheduling == nil {
			t.Errorf("%s is %s %s", class.Name, class.APIVersion, class.Kind)
		}
		classes[class.Name] = class.Handler
	}
	if want := map[string]string{"gvisor": "runsc", "gvisor-systrap": "runsc", "gvisor-kvm": "runsc-kvm"}; !maps.Equal(classes, want) {
		t.Errorf("classes are %v, want %v", classes, want)
	}
	handlers := slices.Compact(slices.Sorted(maps.Values(classes)))
	if !slices.Equal(handlers, runsc.Handlers()) {
		t.Errorf("the classes want handlers %v, containerd is given %v", handlers, runsc.Handlers())
	}
	pod := manifest[corev1.Pod](t, read(t, "configs/kubernetes/pod.yaml"))
	if pod.Kind != "Pod" || pod.APIVersion != "v1" || len(pod.Spec.Containers) == 0 || pod.Spec.RuntimeClassName == nil || classes[*pod.Spec.RuntimeClassName] == "" {
		t.Errorf("pod is %+v", pod)
	}
}

func TestConfigMap(t *testing.T) {
	object := manifest[corev1.ConfigMap](t, read(t, "configs/kubernetes/configmap.yaml"))
	if object.Kind != "ConfigMap" || object.APIVersion != "v1" || len(object.Data) != 1 {
		t.Errorf("it is %+v", object)
	}
	if _, err := configs.Parse("configmap.yaml", []byte(object.Data["sandpoold.toml"])); err != nil {
		t.Error(err)
	}
}

func TestPrometheusRule(t *testing.T) {
	object := manifest[monitoringv1.PrometheusRule](t, read(t, "configs/kubernetes/prometheusrule.yaml"))
	if object.Kind != "PrometheusRule" || object.APIVersion != monitoringv1.SchemeGroupVersion.String() || len(object.Spec.Groups) == 0 {
		t.Errorf("it is %+v", object)
	}
	_, rules, _ := strings.Cut(read(t, "configs/prometheus/rules.yml"), "\ngroups:\n")
	_, copied, _ := strings.Cut(read(t, "configs/kubernetes/prometheusrule.yaml"), "\n  groups:\n")
	if strings.ReplaceAll("\n"+copied, "\n  ", "\n") != "\n"+rules {
		t.Error("the alerts for Kubernetes are not those of configs/prometheus/rules.yml")
	}
}
