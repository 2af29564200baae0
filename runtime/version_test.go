package runtime

import "testing"

func TestOldContainerdIsRefused(t *testing.T) {
	for version, refused := range map[string]bool{"v2.4.2": false, "2.0.0": false, "1.6.20~ds1": true, "v1.7.27": true, "": false} {
		if err := checkContainerd(version); (err != nil) != refused {
			t.Errorf("containerd %s: %v", version, err)
		}
	}
}
