package images

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/test/testbed"
)

// layered is an image of n layers that nothing else has.
func layered(t testing.TB, n, size int) v1.Image {
	t.Helper()
	img := noise(t, "app", size)
	for range n - 1 {
		layers, err := noise(t, "", size).Layers()
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, layers...); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// slowly sends what there is in pieces.
func slowly(pieces int, pause time.Duration) testbed.Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&slowWriter{w, pieces, pause}, r)
	}
}

type slowWriter struct {
	http.ResponseWriter
	pieces int
	pause  time.Duration
}

// Write implements io.Writer.
func (w *slowWriter) Write(p []byte) (int, error) {
	for n, step := 0, len(p)/w.pieces+1; n < len(p); n += step {
		time.Sleep(w.pause)
		if _, err := w.ResponseWriter.Write(p[n:min(n+step, len(p))]); err != nil {
			return n, err
		}
	}
	return len(p), nil
}

// TestPullSurvivesKill kills processes that pull an image, at moments spread
// over the pull, and then pulls once more.
func TestPullSurvivesKill(t *testing.T) {
	if arg := os.Getenv("DAVIT_PULL_CHILD"); arg != "" {
		f := strings.Split(arg, " ")
		if _, err := storeAt(t, f[0], f[1], Config{}).Pull(t.Context(), runtime.PullRequest{Ref: f[2]}); err != nil {
			t.Fatal(err)
		}
		return
	}
	onBothDaemons(t, func(t *testing.T, bed *testbed.Bed, s *Store) {
		r := testbed.NewRegistry(t, testbed.RegistryOptions{})
		ref, _ := r.Push(t, "web:1", layered(t, 5, 1<<20))
		var blobs atomic.Int64
		begun := make(chan int64, 100) // one after the other, the blobs that a child asks for
		slow := slowly(8, 20*time.Millisecond)
		r.Break(testbed.Only(testbed.IsBlob, func(w http.ResponseWriter, q *http.Request, next http.Handler) {
			begun <- blobs.Add(1)
			slow(w, q, next)
		}))
		child := func(blob int64, later time.Duration) (ended bool) {
			blobs.Store(0)
			cmd := exec.Command(os.Args[0], "-test.run=^TestPullSurvivesKill$")
			cmd.Env = append(os.Environ(), fmt.Sprintf("DAVIT_PULL_CHILD=%s %s %s", bed.Address, bed.Namespace, ref))
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- cmd.Wait() }()
			for {
				select {
				case n := <-begun:
					if n == blob {
						time.Sleep(later)
						_ = cmd.Process.Kill()
					}
				case err := <-done:
					return err == nil
				case <-time.After(limit):
					t.Fatal("a pull does not get on")
				}
			}
		}
		left := map[string]int{}
		for i := range 12 {
			if child(int64(i%6)+1, time.Duration(i/6)*50*time.Millisecond) {
				t.Errorf("pull %d was not cut", i)
			}
			ctx, cl := s.withNS(t.Context()), bed.Client(bed.Namespace)
			leases, err := cl.LeasesService().List(ctx)
			if err != nil {
				t.Fatal(err)
			}
			ingests, err := s.content().ListStatuses(ctx)
			if err != nil {
				t.Fatal(err)
			}
			snapshots := 0
			if err := s.snapshots().Walk(ctx, countSnapshots(&snapshots)); err != nil {
				t.Fatal(err)
			}
			left["leases"] += len(leases)
			left["ingests"] += len(ingests)
			left["snapshots"] += snapshots
			if i%4 == 3 { // as davit does when it starts
				storeOf(t, bed, Config{}).Reap(t.Context())
				if now := contents(t, s); now != "0 blobs, 0 snapshots" {
					t.Errorf("after reaping there are %s", now)
				}
				noLeaks(t, bed)
			}
		}
		t.Logf("killed pulls left %v", left)
		if left["leases"] == 0 || left["ingests"] == 0 {
			t.Error("no pull was cut in the middle")
		}
		img := mustPull(t, s, ref)
		if img.Config.User != "app" || len(img.Passwd) == 0 {
			t.Errorf("the image is not whole: %+v", img)
		}
		if now := contents(t, s); now != "7 blobs, 5 snapshots" { // manifest, configuration, layers
			t.Errorf("there are %s", now)
		}
		noLeaks(t, bed)
	})
}

func TestPullsAtOnceShare(t *testing.T) {
	onBothDaemons(t, func(t *testing.T, bed *testbed.Bed, s *Store) {
		r := testbed.NewRegistry(t, testbed.RegistryOptions{})
		base := layered(t, 3, 1<<18)
		var refs []string
		for i := range 4 {
			layers, err := noise(t, "", 1<<16).Layers()
			if err != nil {
				t.Fatal(err)
			}
			img, err := mutate.AppendLayers(base, layers...)
			if err != nil {
				t.Fatal(err)
			}
			ref, _ := r.Push(t, fmt.Sprintf("web%d:1", i), img)
			refs = append(refs, ref, ref) // each twice
		}
		r.Break(testbed.Only(testbed.IsBlob, slowly(4, 10*time.Millisecond)))
		var wg sync.WaitGroup
		for _, ref := range refs {
			wg.Go(func() {
				if img, err := pullRef(t, s, ref); err != nil || img.Name != ref {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		fetched := map[string]int{}
		for _, q := range r.Requests() {
			if q.Method == http.MethodGet && strings.Contains(q.Path, "/blobs/") {
				fetched[q.Path[strings.LastIndex(q.Path, "/"):]]++
			}
		}
		for blob, n := range fetched {
			if n != 1 {
				t.Errorf("blob %s was fetched %d times", blob, n)
			}
		}
		if now := contents(t, s); now != "15 blobs, 7 snapshots" { // 4 manifests, 4 configurations, 3+4 layers
			t.Errorf("there are %s", now)
		}
		noLeaks(t, bed)
		for _, ref := range refs {
			if err := s.RemoveImage(t.Context(), ref); err != nil && !strings.Contains(err.Error(), "nothing has this name") {
				t.Error(err)
			}
		}
		if now := contents(t, s); now != "0 blobs, 0 snapshots" {
			t.Errorf("after removal there are %s", now)
		}
	})
}

// TestPullSurvivesAKilledDaemon kills containerd at moments spread over a pull.
func TestPullSurvivesAKilledDaemon(t *testing.T) {
	onBothDaemons(t, func(t *testing.T, bed *testbed.Bed, s *Store) {
		r := testbed.NewRegistry(t, testbed.RegistryOptions{})
		ref, _ := r.Push(t, "web:1", layered(t, 5, 1<<18))
		r.Break(testbed.Only(testbed.IsBlob, slowly(4, 20*time.Millisecond)))
		for i := range 3 {
			ended := make(chan error, 1)
			go func() {
				_, err := s.Pull(t.Context(), runtime.PullRequest{Ref: ref})
				ended <- err
			}()
			time.Sleep(time.Duration(60+i*100) * time.Millisecond)
			bed.Containerd.Kill()
			if err := <-ended; err != nil && !errors.Is(err, runtime.ErrUnavailable) {
				t.Errorf("killed during a pull: %v", err)
			}
			bed.Containerd.Start()
			testbed.Poll(t, limit, func() string { // the client's connection comes back with a delay
				if _, err := s.Images(t.Context()); err != nil {
					return err.Error()
				}
				return ""
			})
			s.Reap(t.Context()) // as davit does when it has connected
			noLeaks(t, bed)
			if _, err := s.records().Get(s.withNS(t.Context()), ref); err == nil {
				break
			}
		}
		mustPull(t, s, ref)
		if now := contents(t, s); now != "7 blobs, 5 snapshots" {
			t.Errorf("there are %s", now)
		}
		noLeaks(t, bed)
	})
}
