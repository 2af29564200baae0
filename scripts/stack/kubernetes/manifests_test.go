// Package kubernetes checks the manifests of configs/kubernetes by their published types, which are in a module of their own for that: the daemon has
// nothing of Kubernetes.
package kubernetes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// kinds are the types of the manifests, by what they say of themselves.
var kinds = map[string]func() runtime.Object{
	"v1 ConfigMap":                func() runtime.Object { return &corev1.ConfigMap{} },
	"v1 Pod":                      func() runtime.Object { return &corev1.Pod{} },
	"node.k8s.io/v1 RuntimeClass": func() runtime.Object { return &nodev1.RuntimeClass{} },
	"monitoring.coreos.com/v1 PrometheusRule": func() runtime.Object { return &monitoringv1.PrometheusRule{} },
}

// A field that the type of an object does not have is an error.
func TestManifests(t *testing.T) {
	files, err := filepath.Glob("../../../configs/kubernetes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("manifests %v, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.SplitSeq(string(data), "\n---\n") {
			if err := check(text); err != nil {
				t.Errorf("%s: %v in\n%s", filepath.Base(file), err, text)
			}
		}
	}
}

func check(text string) error {
	var says runtime.TypeMeta
	if err := yaml.Unmarshal([]byte(text), &says); err != nil {
		return err
	}
	object, ok := kinds[says.APIVersion+" "+says.Kind]
	if !ok {
		return runtime.NewMissingKindErr(says.APIVersion + " " + says.Kind)
	}
	return yaml.UnmarshalStrict([]byte(text), object())
}

// What the manifests may not say is refused.
func TestCheck(t *testing.T) {
	for _, text := range []string{
		"apiVersion: v1\nkind: Pod\nspec: {container: []}", "apiVersion: v1\nkind: Pud", "apiVersion: v2\nkind: Pod", "kind: [", "apiVersion: v1\nkind: ConfigMap\ndata: {a: [1]}",
	} {
		if check(text) == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
