package pods

import (
	"context"
	"sync"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/runtime"
)

// imageWaits is what a worker knows of the pulls that its pod waits for. They are
// not recorded: another process asks anew.
type imageWaits struct {
	ids      map[string]string // container name -> ImageRequest.ID
	asked    bool              // there may be something to release
	released bool
}

// image gets the image of an attempt. When it has to be pulled, so have the
// images of the pod's other containers, which are asked for as well: they are
// here by the time they are needed.
func (w *worker) image(ctx context.Context, c *v1.Container, id string) (*runtime.Image, lifecycle.Result) {
	img, r := w.p.d.Images.Ensure(ctx, ImageRequest{Pod: w.pod, Container: c, ID: id, Policy: c.ImagePullPolicy})
	if !r.Pending {
		return img, r
	}
	if w.waits.ids == nil {
		w.waits.ids = map[string]string{}
	}
	w.waits.ids[c.Name], w.waits.asked = id, true
	var asking sync.WaitGroup // side by side: each may take a moment
	for _, list := range [][]v1.Container{w.pod.Spec.InitContainers, w.pod.Spec.Containers} {
		for i := range list {
			other := &list[i]
			if other.Name == c.Name || other.ImagePullPolicy == v1.PullNever || w.facts.Containers[other.Name].Current != nil {
				continue
			}
			// Whatever becomes of it is told when the container's turn comes; a
			// policy of Always is kept then.
			asking.Go(func() {
				w.p.d.Images.Ensure(ctx, ImageRequest{Pod: w.pod, Container: other, ID: "ahead/" + other.Name, Policy: v1.PullIfNotPresent})
			})
		}
	}
	asking.Wait()
	return nil, r
}

// pulling returns how far the pulls are, by container.
func (w *worker) pulling() map[string]string {
	if len(w.waits.ids) == 0 {
		return nil
	}
	now := w.p.d.Images.Pulling(w.uid)
	out := map[string]string{}
	for name, id := range w.waits.ids {
		if how, ok := now[id]; ok {
			out[name] = how
		} else {
			delete(w.waits.ids, name)
		}
	}
	return out
}

// releaseImages gives up pulls that nothing of the pod will need any more.
func (w *worker) releaseImages() {
	over := w.facts.Deletion != nil || w.facts.Ended != nil || w.facts.Evicted != nil
	if over && w.waits.asked && !w.waits.released {
		w.waits.released, w.waits.ids = true, nil
		w.p.d.Images.Release(w.uid)
	}
}
