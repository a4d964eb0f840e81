package images

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/registry"
	"github.com/davit-agent/davit/test/testbed"
)

// noise is an image with a layer that nothing else has.
func noise(t testing.TB, user string, size int) v1.Image {
	t.Helper()
	data := make([]byte, size)
	_, _ = rand.Read(data)
	return testbed.Image(t, testbed.ImageSpec{User: user, Empty: true,
		Files: map[string]testbed.File{"/etc/passwd": {Data: []byte("root:x:0:0::/:\n")}, "/noise": {Data: data}}})
}

func pullRef(t *testing.T, s *Store, ref string, creds ...runtime.Credential) (*runtime.Image, error) {
	t.Helper()
	return s.Pull(t.Context(), runtime.PullRequest{Ref: ref, Credentials: creds})
}

func mustPull(t *testing.T, s *Store, ref string, creds ...runtime.Credential) *runtime.Image {
	t.Helper()
	img, err := pullRef(t, s, ref, creds...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// contents counts the blobs and snapshots that containerd has.
func contents(t *testing.T, s *Store) string {
	t.Helper()
	ctx := s.withNS(t.Context())
	n := 0
	if err := s.content().Walk(ctx, countContent(&n)); err != nil {
		t.Fatal(err)
	}
	m := 0
	if err := s.snapshots().Walk(ctx, countSnapshots(&m)); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d blobs, %d snapshots", n, m)
}

func TestPullByTagAndDigest(t *testing.T) {
	onBothDaemons(t, func(t *testing.T, bed *testbed.Bed, s *Store) {
		r := testbed.NewRegistry(t, testbed.RegistryOptions{})
		ref, digest := r.Push(t, "web:1", noise(t, "app", 1<<20))
		img := mustPull(t, s, ref)
		if img.Name != ref || img.Config.User != "app" || string(img.Passwd) != "root:x:0:0::/:\n" {
			t.Errorf("image is %+v", img)
		}
		byDigest := r.Host + "/web@" + digest
		if !slices.Equal(img.RepoDigests, []string{byDigest}) {
			t.Errorf("RepoDigests are %q, want %s", img.RepoDigests, byDigest)
		}
		r.Requests()
		again := mustPull(t, s, ref)
		if seen := r.Requests(); again != img || len(seen) != 1 {
			t.Errorf("an image that has not moved took the requests %v", seen)
		}
		// A second name for what is here: content is asked for by nobody.
		pinned := mustPull(t, s, byDigest)
		for _, q := range r.Requests() {
			if strings.Contains(q.Path, "/blobs/") {
				t.Errorf("a second name took %s %s", q.Method, q.Path)
			}
		}
		if pinned.ID != img.ID || !slices.Equal(pinned.RepoDigests, img.RepoDigests) {
			t.Errorf("by digest it is %+v", pinned)
		}
		if got, err := s.Image(t.Context(), ref); err != nil || got != img {
			t.Errorf("Image after Pull: %p, %v; want %p", got, err, img)
		}
		noLeaks(t, bed)
		for _, name := range []string{ref, byDigest} {
			if err := s.RemoveImage(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
		if left := contents(t, s); left != "0 blobs, 0 snapshots" {
			t.Errorf("after removal: %s", left)
		}
	})
}

func TestPullOfATagThatMoves(t *testing.T) {
	onBothDaemons(t, func(t *testing.T, bed *testbed.Bed, s *Store) {
		r := testbed.NewRegistry(t, testbed.RegistryOptions{})
		ref, _ := r.Push(t, "web:1", noise(t, "one", 1<<16))
		first := mustPull(t, s, ref)
		before := contents(t, s)
		r.Push(t, "web:1", noise(t, "two", 1<<16))
		second := mustPull(t, s, ref)
		if second.Config.User != "two" || second.ID == first.ID {
			t.Errorf("the second pull returned %+v", second)
		}
		if after := contents(t, s); after != before {
			t.Errorf("there are %s, with the first image there were %s", after, before)
		}
		noLeaks(t, bed)
	})
}

// pullErrors are what a registry can do wrong to a pull, and what is said.
func pullErrors() map[string]struct {
	fault testbed.Fault
	say   string
} {
	type c = struct {
		fault testbed.Fault
		say   string
	}
	return map[string]c{
		"truncated":        {testbed.Only(testbed.IsBlob, testbed.Truncated), "EOF"},
		"shortened":        {testbed.Only(testbed.IsBlob, testbed.Shortened), "short read"},
		"flipped":          {testbed.Only(testbed.IsBlob, testbed.Flipped), "unexpected commit digest"},
		"flipped manifest": {testbed.Only(func(q *http.Request) bool { return q.Method == "GET" && testbed.IsManifest(q) }, testbed.Flipped), "unexpected commit digest"},
		"no blob":          {testbed.Only(testbed.IsBlob, testbed.Answer(404)), "not found"},
		"a web page":       {testbed.Answer(200, "Content-Type", "text/html"), "media type"},
	}
}

func TestPullErrors(t *testing.T) {
	onBothDaemons(t, func(t *testing.T, bed *testbed.Bed, s *Store) {
		r := testbed.NewRegistry(t, testbed.RegistryOptions{})
		ref, _ := r.Push(t, "web:1", noise(t, "app", 1<<20))
		for name, c := range pullErrors() {
			t.Run(name, func(t *testing.T) {
				r.Break(c.fault)
				_, err := pullRef(t, s, ref)
				if err == nil || !strings.Contains(err.Error(), c.say) || !strings.HasPrefix(err.Error(), fmt.Sprintf("failed to pull and unpack image %q: ", ref)) {
					t.Fatalf("got %v, want %q in it", err, c.say)
				}
				if errors.Is(err, runtime.ErrUnavailable) {
					t.Errorf("a registry's fault counts as containerd's: %v", err)
				}
				t.Log(err)
			})
		}
		r.Break(nil)
		_, err := pullRef(t, s, r.Host+"/web:none")
		if want := fmt.Sprintf("failed to pull and unpack image %[1]q: failed to resolve reference %[1]q: %[1]s: not found", r.Host+"/web:none"); err == nil || err.Error() != want {
			t.Errorf("a tag that is not there: %v\nwant %s", err, want)
		}
		if _, err := pullRef(t, s, "127.0.0.1:1/web:1"); err == nil || !strings.Contains(err.Error(), "connection refused") || errors.Is(err, runtime.ErrUnavailable) {
			t.Errorf("no registry: %v", err)
		}
		if _, err := pullRef(t, s, "127.0.0.1:1/UPPER:1"); !errors.Is(err, runtime.ErrInvalidImageName) {
			t.Errorf("a bad name: %v", err)
		}
		if left := contents(t, s); left != "0 blobs, 0 snapshots" {
			t.Errorf("after failures: %s", left)
		}
		noLeaks(t, bed)
		mustPull(t, s, ref)
		bed.Containerd.Kill()
		if _, err := pullRef(t, s, ref); !errors.Is(err, runtime.ErrUnavailable) {
			t.Errorf("with the daemon away: %v", err)
		}
	})
}

func TestPullGetsOverPassingFaults(t *testing.T) {
	bed, s := newStore(t, "")
	r := testbed.NewRegistry(t, testbed.RegistryOptions{})
	for name, f := range map[string]testbed.Fault{
		"429":       testbed.First(2, testbed.Answer(429, "Retry-After", "0")),
		"503":       testbed.First(2, testbed.Answer(503)),
		"truncated": testbed.Only(testbed.IsBlob, testbed.First(2, testbed.Truncated)),
		"redirect": testbed.Only(testbed.IsBlob, func(w http.ResponseWriter, q *http.Request, next http.Handler) {
			if q.URL.RawQuery == "" {
				http.Redirect(w, q, q.URL.Path+"?signature=s3cret", http.StatusTemporaryRedirect)
				return
			}
			next.ServeHTTP(w, q)
		}),
	} {
		r.Break(nil)
		ref, _ := r.Push(t, "web-"+name+":1", noise(t, "app", 1<<20))
		r.Break(f)
		if _, err := pullRef(t, s, ref); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	noLeaks(t, bed)
}

func TestPullDoesNotAskTooOften(t *testing.T) {
	_, s := newStore(t, "")
	r := testbed.NewRegistry(t, testbed.RegistryOptions{})
	ref, _ := r.Push(t, "web:1", noise(t, "app", 1<<16))
	r.Requests()
	r.Break(testbed.Only(testbed.IsBlob, testbed.Answer(500)))
	if _, err := pullRef(t, s, ref); err == nil || !strings.Contains(err.Error(), "500 Internal Server Error (after 4 tries)") {
		t.Errorf("a blob that cannot be served: %v", err)
	}
	if n := len(slices.DeleteFunc(r.Requests(), func(q testbed.Request) bool { return !strings.Contains(q.Path, "/blobs/") })); n != registry.Tries {
		t.Errorf("it was asked for %d times, want %d", n, registry.Tries)
	}
}

func TestPullStalls(t *testing.T) {
	bed := testbed.New(t, testbed.Options{})
	s := storeOf(t, bed, Config{PullStall: time.Second})
	r := testbed.NewRegistry(t, testbed.RegistryOptions{})
	ref, _ := r.Push(t, "web:1", noise(t, "app", 1<<20))
	for name, f := range map[string]testbed.Fault{
		"in the middle": testbed.Only(testbed.IsBlob, testbed.Stalled),
		"silence":       testbed.Silent,
	} {
		r.Break(f)
		_, err := pullRef(t, s, ref)
		var stall *registry.StallError
		if !errors.As(err, &stall) || !strings.Contains(err.Error(), "stalled: nothing has arrived for 1s while waiting for "+r.Host) {
			t.Errorf("%s: %v", name, err)
		}
	}
	noLeaks(t, bed)
	r.Break(nil)
	mustPull(t, s, ref)
}

func TestPullIsCancelled(t *testing.T) {
	onBothDaemons(t, func(t *testing.T, bed *testbed.Bed, s *Store) {
		r := testbed.NewRegistry(t, testbed.RegistryOptions{})
		ref, _ := r.Push(t, "web:1", noise(t, "app", 1<<20))
		stalled := make(chan struct{}, 100)
		r.Break(testbed.Only(testbed.IsBlob, func(w http.ResponseWriter, q *http.Request, next http.Handler) {
			stalled <- struct{}{}
			testbed.Stalled(w, q, next)
		}))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			_, err := s.Pull(ctx, runtime.PullRequest{Ref: ref})
			ended <- err
		}()
		<-stalled
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("a cancelled pull returned %v", err)
			}
		case <-time.After(limit):
			t.Fatal("a cancelled pull does not end")
		}
		if left := contents(t, s); left != "0 blobs, 0 snapshots" {
			t.Errorf("after the cancellation: %s", left)
		}
		noLeaks(t, bed)
	})
}

func TestPullTellsItsProgress(t *testing.T) {
	_, s := newStore(t, "")
	r := testbed.NewRegistry(t, testbed.RegistryOptions{})
	ref, _ := r.Push(t, "web:1", noise(t, "app", 4<<20))
	gate := make(chan struct{})
	r.Break(testbed.Only(testbed.IsBlob, func(w http.ResponseWriter, q *http.Request, next http.Handler) {
		<-gate
		next.ServeHTTP(w, q)
	}))
	var told []runtime.PullProgress
	img, err := s.Pull(t.Context(), runtime.PullRequest{Ref: ref, Progress: func(p runtime.PullProgress) {
		told = append(told, p)
		if p.Stage == runtime.PullFetching && p.Total > 0 {
			select {
			case <-gate:
			default:
				close(gate)
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	last := told[len(told)-1]
	want := runtime.PullProgress{Stage: runtime.PullUnpacking, Layers: 1, LayersDone: 1, Bytes: img.Size, Total: img.Size}
	if told[0] != (runtime.PullProgress{Stage: runtime.PullResolving}) || last != want {
		t.Errorf("told of %+v, the last should be %+v", told, want)
	}
	for i := 1; i < len(told); i++ {
		if told[i].Bytes < told[i-1].Bytes || told[i].LayersDone < told[i-1].LayersDone {
			t.Errorf("progress went back: %+v", told)
		}
	}
}
