package images

import (
	"testing"

	"github.com/davit-agent/davit/runtime"
)

func TestImageCacheIsBounded(t *testing.T) {
	var k cache
	ref := func(i int) string { return "example.com/x:" + string(rune('a'+i%26)) + string(rune('a'+i/26)) }
	for i := range 600 {
		k.put(ref(i), cached{target: "d", image: &runtime.Image{Passwd: make([]byte, 1<<16)}})
		k.put(ref(i), cached{target: "d", image: &runtime.Image{Passwd: make([]byte, 1<<16)}})
		if e, ok := k.get(ref(i)); !ok || e.target != "d" {
			t.Fatal("what was put is not what is got")
		}
	}
	if k.bytes > maxCachedBytes || len(k.byRef) != k.bytes>>16 {
		t.Errorf("%d bytes in %d entries", k.bytes, len(k.byRef))
	}
	for i := range 600 {
		k.put(ref(i), cached{target: "d", image: &runtime.Image{}})
	}
	if len(k.byRef) > maxCachedImages {
		t.Errorf("%d entries", len(k.byRef))
	}
}
