package images

import (
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/davit-agent/davit/runtime"
)

// cache remembers images by normalised reference. An entry holds as long as
// the reference points to the same content and the snapshot is there, which
// two calls side by side tell; everything else (manifest, configuration, passwd
// and group file) follows from the content's digest. The zero value is ready.
type cache struct {
	mu    sync.Mutex
	byRef map[string]cached
	bytes int // of passwd and group files
}

type cached struct {
	target digest.Digest
	pulled bool // its record says that it came from a registry
	image  *runtime.Image
}

// Bounds of the cache. An entry without passwd and group is about 1 KiB.
const (
	maxCachedImages = 500
	maxCachedBytes  = 16 << 20
)

// get returns what is known of ref, whatever it points to now.
func (k *cache) get(ref string) (cached, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, ok := k.byRef[ref]
	return e, ok
}

func (k *cache) put(ref string, e cached) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byRef == nil {
		k.byRef = make(map[string]cached)
	}
	k.dropLocked(ref)
	size := len(e.image.Passwd) + len(e.image.Group)
	for other := range k.byRef { // in no order: any victim will do
		if len(k.byRef) < maxCachedImages && k.bytes+size <= maxCachedBytes {
			break
		}
		k.dropLocked(other)
	}
	k.byRef[ref] = e
	k.bytes += size
}

func (k *cache) drop(ref string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dropLocked(ref)
}

func (k *cache) dropLocked(ref string) {
	if e, ok := k.byRef[ref]; ok {
		k.bytes -= len(e.image.Passwd) + len(e.image.Group)
		delete(k.byRef, ref)
	}
}
