package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/images"
	"github.com/davit-agent/davit/agent/images/keyring"
	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/agent/pods"
	"github.com/davit-agent/davit/agent/source"
	"github.com/davit-agent/davit/runtime"
)

// arrivals counts the images that come to the node other than by a pod's pull,
// and has all pods look whether they waited for one.
type arrivals struct {
	n    atomic.Uint64
	wake func(uid string)
}

func (a *arrivals) note() {
	a.n.Add(1)
	a.wake("")
}

// podImages is package images as pods sees it.
type podImages struct {
	*images.Puller
	objects  *source.Set // of pull secrets
	arrivals *arrivals
}

// Ensure implements pods.Images.
func (p podImages) Ensure(ctx context.Context, req pods.ImageRequest) (*runtime.Image, lifecycle.Result) {
	secrets, missing := p.pullSecrets(req.Pod)
	img, err := p.Puller.Ensure(ctx, images.Request{
		UID: string(req.Pod.UID), ContainerID: req.ID, Ref: req.Container.Image, Policy: req.Policy,
		Secrets: secrets, Missing: missing,
	})
	if err == nil {
		return img, lifecycle.Result{}
	}
	var pulling *images.Pulling
	if errors.As(err, &pulling) {
		return nil, lifecycle.Result{Pending: true, Message: pulling.Error()}
	}
	reason, message := images.Explain(err)
	return nil, lifecycle.Result{Reason: reason, Message: message}
}

// pullSecrets returns the pod's pull secrets and the names of those that there
// are not.
func (p podImages) pullSecrets(pod *v1.Pod) (found []*v1.Secret, missing []string) {
	for _, ref := range pod.Spec.ImagePullSecrets {
		if s, ok := p.objects.Secret(pod.Namespace, ref.Name); ok {
			found = append(found, s)
		} else {
			missing = append(missing, ref.Name)
		}
	}
	return found, missing
}

// Generation implements pods.Images.
func (p podImages) Generation() uint64 { return p.arrivals.n.Load() }

// keeper is runtime.Images under a name that is not one of its methods.
type keeper interface{ runtime.Images }

// imageStore is what the server does with images.
type imageStore struct {
	keeper
	puller   *images.Puller
	arrivals *arrivals
}

// Pull takes its turn with the pods' pulls.
func (s imageStore) Pull(ctx context.Context, req runtime.PullRequest) (*runtime.Image, error) {
	img, err := s.puller.Pull(ctx, req)
	if err == nil {
		s.arrivals.note()
	}
	return img, err
}

// Load implements runtime.Images.
func (s imageStore) Load(ctx context.Context, archive io.Reader) ([]string, error) {
	names, err := s.keeper.Load(ctx, archive)
	if len(names) > 0 {
		s.arrivals.note()
	}
	return names, err
}

// nodeCredentials are those of the configured file, none for "".
func nodeCredentials(path string, log *slog.Logger) images.Credentials {
	if path == "" {
		return nil
	}
	return keyring.NewFile(path, log)
}
