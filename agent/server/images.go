package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/runtime"
)

// Images is what the API does with images; see runtime.Images. Pull has the
// node's own credentials tried after those of the request, and may tell of
// further stages.
type Images interface {
	Images(ctx context.Context) ([]runtime.ImageInfo, error)
	Pull(ctx context.Context, req runtime.PullRequest) (*runtime.Image, error)
	Load(ctx context.Context, archive io.Reader) ([]string, error)
	RemoveImage(ctx context.Context, ref string) error
}

// maxPullBody bounds the body of a request to pull, in bytes.
const maxPullBody = 256 << 10

// imageRoutes adds what is said of images:
//
//	GET    /v1/images        wire.Images
//	POST   /v1/images/pull   wire.ImagePull in, wire.ImagePullEvent a line out; an
//	                         error before the first line is a Status
//	POST   /v1/images/load   an archive in, wire.ImagesLoaded out
//	DELETE /v1/images?ref=   Status; 404, 409 for one that is pinned
func (s *Server) imageRoutes(mux *http.ServeMux) {
	if s.opts.Images == nil {
		return
	}
	mux.HandleFunc("GET /v1/images", s.images)
	mux.HandleFunc("POST /v1/images/pull", s.pullImage)
	mux.HandleFunc("POST /v1/images/load", s.loadImages)
	mux.HandleFunc("DELETE /v1/images", s.removeImage)
}

// imageFailure gives an error its status.
func imageFailure(err error) *failure {
	code, reason := http.StatusInternalServerError, metav1.StatusReasonInternalError
	switch {
	case errors.Is(err, runtime.ErrInvalidImageName):
		code, reason = http.StatusBadRequest, metav1.StatusReasonBadRequest
	case errors.Is(err, runtime.ErrImageNotFound):
		code, reason = http.StatusNotFound, metav1.StatusReasonNotFound
	case errors.Is(err, runtime.ErrImagePinned):
		code, reason = http.StatusConflict, metav1.StatusReasonConflict
	case errors.Is(err, runtime.ErrUnavailable):
		code, reason = http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable
	}
	return &failure{code, reason, err.Error()}
}

func (s *Server) images(w http.ResponseWriter, r *http.Request) {
	list, err := s.opts.Images.Images(r.Context())
	if err != nil {
		imageFailure(err).reply(w)
		return
	}
	users := imageUsers(s.opts.Pods.List())
	out := wire.Images{Items: []wire.Image{}}
	for _, i := range list {
		out.Items = append(out.Items, wire.Image{ID: i.ID, Names: i.Names, RepoDigests: i.RepoDigests,
			Size: i.Size, Created: i.Created, Pinned: i.Pinned, Pods: usersOf(users, i)})
	}
	writeJSON(w, http.StatusOK, out)
}

// usersOf returns the pods that run from an image, by whatever they call it.
func usersOf(users map[string][]string, i runtime.ImageInfo) []string {
	out := slices.Clone(users[i.ID])
	for _, name := range i.RepoDigests {
		out = append(out, users[name]...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// imageUsers tells by imageID which pods have containers of it.
func imageUsers(pods []*v1.Pod) map[string][]string {
	users := map[string][]string{}
	for _, p := range pods {
		name := p.Namespace + "/" + p.Name
		for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses) {
			if id := c.ImageID; id != "" && !slices.Contains(users[id], name) {
				users[id] = append(users[id], name)
			}
		}
	}
	for _, names := range users {
		slices.Sort(names)
	}
	return users
}

func (s *Server) pullImage(w http.ResponseWriter, r *http.Request) {
	var body wire.ImagePull
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxPullBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&body); err != nil { // its text may hold a part of the password
		badRequest("the body is not a JSON object with ref, and username and password if there are any, of at most %d bytes", maxPullBody).reply(w)
		return
	}
	if body.Ref == "" {
		badRequest("field ref: name an image").reply(w)
		return
	}
	req := runtime.PullRequest{Ref: body.Ref}
	if body.Username != "" || body.Password != "" {
		req.Credentials = []runtime.Credential{{Username: body.Username, Password: body.Password}}
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	ctl := http.NewResponseController(w)
	defer cutWith(ctx, ctl.SetWriteDeadline)()
	if err := s.streamPull(ctx, req, &lineWriter{w: w, ctl: ctl}); err != nil {
		imageFailure(err).reply(w)
	}
}

// streamPull pulls and writes a line whenever there is something new. A slow
// reader misses lines and does not hold up the pull. The error is for whom no
// line was written.
func (s *Server) streamPull(ctx context.Context, req runtime.PullRequest, out *lineWriter) error {
	latest := latestProgress{changed: make(chan struct{}, 1)}
	req.Progress = latest.set
	type result struct {
		img *runtime.Image
		err error
	}
	done := make(chan result, 1)
	go func() {
		img, err := s.opts.Images.Pull(ctx, req)
		done <- result{img, err}
	}()
	for {
		select {
		case <-latest.changed:
			out.write(wire.ImagePullEvent{Progress: latest.get()})
		case r := <-done:
			switch {
			case r.err != nil && !out.begun:
				return r.err
			case r.err != nil:
				out.write(wire.ImagePullEvent{Error: r.err.Error()})
			default:
				out.write(wire.ImagePullEvent{Image: &wire.Image{ID: r.img.ID, Names: []string{r.img.Name},
					RepoDigests: r.img.RepoDigests, Size: r.img.Size}})
			}
			return nil
		}
	}
}

// latestProgress holds the newest progress.
type latestProgress struct {
	changed chan struct{}
	mu      sync.Mutex
	value   runtime.PullProgress
}

func (n *latestProgress) set(p runtime.PullProgress) {
	n.mu.Lock()
	n.value = p
	n.mu.Unlock()
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

func (n *latestProgress) get() *wire.ImageProgress {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.value
	return &wire.ImageProgress{Stage: string(p.Stage), Layers: p.Layers, LayersDone: p.LayersDone, Bytes: p.Bytes, Total: p.Total}
}

// lineWriter writes JSON lines that are seen at once. When the reader has gone
// the request's context ends, so nobody looks at errors here.
type lineWriter struct {
	w     http.ResponseWriter
	ctl   *http.ResponseController
	begun bool
}

func (l *lineWriter) write(v any) {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", "application/json")
		l.w.WriteHeader(http.StatusOK)
	}
	if json.NewEncoder(l.w).Encode(v) == nil {
		l.ctl.Flush()
	}
}

func (s *Server) loadImages(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	defer cutWith(ctx, http.NewResponseController(w).SetReadDeadline)() // a client that sends nothing holds nobody
	names, err := s.opts.Images.Load(ctx, r.Body)
	if err != nil {
		imageFailure(err).reply(w)
		return
	}
	if names == nil {
		names = []string{}
	}
	writeJSON(w, http.StatusOK, wire.ImagesLoaded{Names: names})
}

func (s *Server) removeImage(w http.ResponseWriter, r *http.Request) {
	ref := r.URL.Query().Get("ref")
	if ref == "" {
		badRequest("parameter ref: name an image").reply(w)
		return
	}
	if err := s.opts.Images.RemoveImage(r.Context(), ref); err != nil {
		imageFailure(err).reply(w)
		return
	}
	writeJSON(w, http.StatusOK, &metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess})
}
