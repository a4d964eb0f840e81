package source

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/agent/podspec"
)

func TestListing(t *testing.T) {
	s := NewSet("one")
	meta := func(ns, name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: ns, Name: name} }
	objects := map[string]*Object{}
	for _, at := range [][2]string{{"b", "x"}, {"a", "y"}, {"a", "x"}} {
		objects[ID(podspec.KindConfigMap, at[0], at[1])] = &Object{ConfigMap: &v1.ConfigMap{ObjectMeta: meta(at[0], at[1])}}
	}
	objects[ID(podspec.KindSecret, "a", "s")] = &Object{Secret: &v1.Secret{ObjectMeta: meta("a", "s")}}
	s.Deliver("one", Snapshot{Complete: true, Objects: objects})
	got := ""
	for _, c := range s.ConfigMaps() {
		got += c.Namespace + "/" + c.Name + " "
	}
	if got != "a/x a/y b/x " {
		t.Errorf("ConfigMaps: %s", got)
	}
	if secrets := s.Secrets(); len(secrets) != 1 || secrets[0].Name != "s" {
		t.Errorf("Secrets: %v", secrets)
	}
}
