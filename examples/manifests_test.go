// Package examples_test holds the examples to what davit takes.
package examples_test

import (
	"os"
	"path/filepath"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/podspec"
)

// Every example is a manifest that davit runs, and uses the packed image.
func TestManifests(t *testing.T) {
	paths, err := filepath.Glob("manifests/*.yaml")
	if err != nil || len(paths) < 2 {
		t.Fatalf("manifests %v, error %v", paths, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		objects, problems := podspec.Read(data, path)
		for _, p := range problems {
			t.Error(p)
		}
		if len(objects) != 1 || objects[0].Pod == nil {
			t.Fatalf("%s: %d objects, want one Pod", path, len(objects))
		}
		for _, list := range [][]v1.Container{objects[0].Pod.Spec.InitContainers, objects[0].Pod.Spec.Containers} {
			for _, c := range list {
				if c.Image != "localhost/davit-example/web:v1" {
					t.Errorf("%s: container %s uses the image %s, which pack does not make", path, c.Name, c.Image)
				}
			}
		}
	}
}
