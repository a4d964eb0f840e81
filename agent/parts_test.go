package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/agent/images"
	"github.com/davit-agent/davit/agent/podspec"
	"github.com/davit-agent/davit/agent/source"
	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd"
)

func TestLockKeepsASecondAgentOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first, err := lockState(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockState(dir)
	want := fmt.Sprintf("stateDir %s is in use by process %d: one davit per stateDir", dir, os.Getpid())
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := lockState(dir)
	if err != nil {
		t.Fatalf("after the first has left: %v", err)
	}
	again.Close()
}

// lockHolder is set in the process that TestLockGoesWithItsProcess starts.
const lockHolder = "DAVIT_TEST_LOCK_STATE"

// A davit that was killed holds nothing, and its number in the file, which may
// be longer than the next one's, misleads nobody.
func TestLockGoesWithItsProcess(t *testing.T) {
	if dir := os.Getenv(lockHolder); dir != "" {
		if _, err := lockState(dir); err != nil {
			t.Fatal(err)
		}
		fmt.Println("locked")
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent has seen enough
		return
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "lock"), []byte("123456789012345\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockGoesWithItsProcess$")
	cmd.Env = append(os.Environ(), lockHolder+"="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if _, err := io.ReadFull(stdout, make([]byte, len("locked"))); err != nil {
		t.Fatalf("the other process has not locked: %v", err)
	}
	_, err = lockState(dir)
	if err == nil || !strings.Contains(err.Error(), "in use by process "+strconv.Itoa(cmd.Process.Pid)+":") {
		t.Errorf("got %v, want one that names process %d", err, cmd.Process.Pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	lock, err := lockState(dir)
	if err != nil {
		t.Fatalf("after kill -9: %v", err)
	}
	lock.Close()
}

func TestLockNeedsADirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lockState(file); err == nil || !strings.HasPrefix(err.Error(), "making stateDir: ") {
		t.Errorf("%v", err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := lockState(dir); err == nil || !strings.HasPrefix(err.Error(), "locking stateDir "+dir) {
		t.Errorf("%v", err)
	}
}

func TestMetrics(t *testing.T) {
	var pods []*v1.Pod
	for i, phase := range []v1.PodPhase{v1.PodRunning, v1.PodRunning, v1.PodFailed} {
		pods = append(pods, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: strconv.Itoa(i)}, Status: v1.PodStatus{Phase: phase}})
	}
	m := newMetrics("v1.2.3", func() []*v1.Pod { return pods })
	m.Phase("setup", 30*time.Millisecond)
	m.Phase("setup", 2*time.Second)
	m.Restarted()
	gathered, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range gathered {
		for _, x := range f.GetMetric() {
			name := f.GetName()
			for _, l := range x.GetLabel() {
				if l.GetName() != "goversion" {
					name += " " + l.GetValue()
				}
			}
			switch {
			case x.Histogram != nil:
				got[name] = fmt.Sprintf("%d in %vs", x.Histogram.GetSampleCount(), x.Histogram.GetSampleSum())
			case x.Counter != nil:
				got[name] = fmt.Sprint(x.Counter.GetValue())
			case x.Gauge != nil:
				got[name] = fmt.Sprint(x.Gauge.GetValue())
			}
		}
	}
	for name, want := range map[string]string{
		"davit_pods Running": "2", "davit_pods Failed": "1", "davit_pods Pending": "0", "davit_pods Succeeded": "0",
		"davit_pod_start_duration_seconds setup": "2 in 2.03s", "davit_container_restarts_total": "1", "davit_build_info v1.2.3": "1",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	for _, name := range []string{"process_resident_memory_bytes", "go_goroutines"} {
		if got[name] == "" {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestDesiredAndProblems(t *testing.T) {
	set := source.NewSet("manifests")
	d := desired{set}
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "u1"}}
	if !d.Keep("u9", "default", "other", "/m/other.yaml") {
		t.Error("a pod is not kept although nothing has synced")
	}
	set.Deliver("manifests", source.Snapshot{
		Complete: true, Pods: map[string]*source.Pod{"u1": {Pod: pod, Origin: "/m/web.yaml"}},
		Problems: []podspec.Problem{{File: "/m/bad.yaml", Line: 3, Object: "Pod x", Field: "spec", Message: "is bad"}},
		Broken:   []string{"/m/bad.yaml"},
	})
	if got, ok := d.Get("u1"); !ok || got.Pod != pod || got.Origin != "/m/web.yaml" {
		t.Errorf("%+v, %v", got, ok)
	}
	if got, ok := d.Get("u2"); ok || got.Pod != nil {
		t.Errorf("%+v, %v", got, ok)
	}
	if list := d.List(); len(list) != 1 || list[0].Pod != pod || list[0].Origin != "/m/web.yaml" {
		t.Errorf("%+v", list)
	}
	if d.Keep("u9", "default", "other", "/m/other.yaml") || !d.Keep("u9", "default", "other", "/m/bad.yaml") {
		t.Error("kept is what came from a file that is broken, and no more")
	}
	got := problems{set}.Problems()
	if len(got) != 1 || got[0].File != "/m/bad.yaml" || got[0].Line != 3 || got[0].Object != "Pod x" || got[0].Field != "spec" || got[0].Message != "is bad" {
		t.Errorf("%+v", got)
	}
}

// An address rests before it is given out again, and no two at once are equal.
func TestAttachmentsAllocate(t *testing.T) {
	a := &attachments{cidrs: []netip.Prefix{netip.MustParsePrefix("10.85.0.0/29"), netip.MustParsePrefix("fd00::/120")}}
	none := func(netip.Addr) bool { return false }
	var seen []netip.Addr
	for range 3 {
		addrs, err := a.Allocate(none)
		if err != nil || len(addrs) != 2 || !addrs[0].Is4() || addrs[1].Is4() {
			t.Fatalf("%v, %v", addrs, err)
		}
		if slices.Contains(seen, addrs[0]) || slices.Contains(seen, addrs[1]) {
			t.Errorf("%v again, after %v", addrs, seen)
		}
		seen = append(seen, addrs...)
	}
	if _, err := a.Allocate(func(netip.Addr) bool { return true }); err == nil {
		t.Error("an address was given out though all are in use")
	}
	if addrs, err := a.Allocate(none); err != nil || slices.Contains(seen, addrs[0]) {
		t.Errorf("after a failure: %v, %v; before %v", addrs, err, seen)
	}
}

func TestPodVolumes(t *testing.T) {
	dir := t.TempDir()
	pod := &v1.Pod{Spec: v1.PodSpec{Volumes: []v1.Volume{{Name: "data", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}}}}}
	paths, err := newVolumes(source.NewSet(), nil).Setup(context.Background(), pod, dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(paths["data"]); len(paths) != 1 || err != nil || !info.IsDir() || !strings.HasPrefix(paths["data"], dir+"/") {
		t.Errorf("%v: %v", paths, err)
	}
	if err := newVolumes(source.NewSet(), nil).Teardown(context.Background(), dir); err != nil {
		t.Error(err)
	}
}

// importerFunc is an importer.
type importerFunc func() ([]containerd.PreloadResult, error)

func (f importerFunc) Preload(context.Context, string) ([]containerd.PreloadResult, error) {
	return f()
}

// store has the images that were imported.
type store struct {
	images.Runtime
	mu    sync.Mutex
	there bool
	asked int
}

func (s *store) Image(context.Context, string) (*runtime.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if !s.there {
		return nil, runtime.ErrImageNotFound
	}
	return &runtime.Image{Name: "x"}, nil
}

func preloading(t *testing.T, dir string, f importerFunc) (*preloader, context.CancelFunc) {
	p := newPreloader(f, dir, func() {}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return p, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A pod that is there before its image is imported waits for it, and no longer.
func TestImageIsWaitedFor(t *testing.T) {
	s := &store{}
	begun, hold := make(chan struct{}, 8), make(chan struct{})
	p, stop := preloading(t, t.TempDir(), func() ([]containerd.PreloadResult, error) {
		begun <- struct{}{}
		<-hold
		s.mu.Lock()
		defer s.mu.Unlock()
		s.there = true
		return []containerd.PreloadResult{{File: "x.tar", Images: []string{"x"}}}, nil
	})
	defer stop()
	<-begun
	got := make(chan error, 1)
	go func() {
		_, err := p.wrap(s).Image(context.Background(), "x")
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.wrap(s).Image(ctx, "x"); !errors.Is(err, runtime.ErrImageNotFound) {
		t.Errorf("a caller that gives up is told %v", err)
	}
	close(hold)
	if err := <-got; err != nil {
		t.Errorf("after the import: %v", err)
	}
	asked := s.asked
	s.there = false
	if _, err := p.wrap(s).Image(context.Background(), "y"); !errors.Is(err, runtime.ErrImageNotFound) || s.asked != asked+1 {
		t.Errorf("with no import under way: %v, asked %d times", err, s.asked-asked)
	}
}

// What is copied into the directory is imported soon; a directory that comes
// only later is found.
func TestPreloadFollowsItsDirectory(t *testing.T) {
	dir := t.TempDir()
	passes := make(chan struct{}, 100)
	_, stop := preloading(t, dir, func() ([]containerd.PreloadResult, error) {
		passes <- struct{}{}
		return nil, nil
	})
	defer stop()
	<-passes
	began := time.Now()
	if err := os.WriteFile(filepath.Join(dir, "x.tar"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	<-passes
	if took := time.Since(began); took > preloadEvery/2 {
		t.Errorf("a new archive was looked at after %v", took)
	}
}

func TestPreloadTriesAgain(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		wait bool // a missing image is waited for
		pace time.Duration
	}{
		{"containerd is away", fmt.Errorf("x: %w", runtime.ErrUnavailable), true, preloadRetry},
		{"the directory is not readable", os.ErrPermission, false, preloadRetry},
		{"nothing is wrong", nil, false, preloadEvery},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var at []time.Time
				p, stop := preloading(t, "", nil)
				stop() // without a directory Run has nothing to do and ends well
				p.dir = "/nonexistent"
				p.idle, p.pass = false, make(chan struct{})
				p.rt = importerFunc(func() ([]containerd.PreloadResult, error) {
					at = append(at, time.Now())
					return nil, c.err
				})
				p.watched(t, 5*c.pace/2)
				if len(at) != 3 || at[1].Sub(at[0]) != c.pace {
					t.Errorf("looked at %v", at)
				}
				if p.idle == c.wait {
					t.Errorf("a missing image is waited for: %v", !p.idle)
				}
			})
		})
	}
}

// watched runs p for a while.
func (p *preloader) watched(t *testing.T, d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if err := p.Run(ctx); err != nil {
		t.Error(err)
	}
}

// The same error is in the log once, however often the archive is tried.
func TestPreloadTellsOnce(t *testing.T) {
	var out strings.Builder
	broken := errors.New("unexpected EOF")
	p := newPreloader(importerFunc(func() ([]containerd.PreloadResult, error) {
		return []containerd.PreloadResult{{File: "bad.tar", Err: broken}, {File: "good.tar", Unchanged: true}}, nil
	}), "/images", func() {}, slog.New(slog.NewTextHandler(&out, nil)))
	for range 3 {
		p.once(context.Background())
	}
	if n := strings.Count(out.String(), "unexpected EOF"); n != 1 || strings.Contains(out.String(), "good.tar") {
		t.Errorf("%s", out.String())
	}
	broken = nil
	p.once(context.Background())
	broken = errors.New("unexpected EOF")
	p.once(context.Background())
	if n := strings.Count(out.String(), "unexpected EOF"); n != 2 {
		t.Errorf("an error that came back: %s", out.String())
	}
}

// A warning says that it is one: what it is about is used.
func TestProblemsTellWarnings(t *testing.T) {
	set := source.NewSet(sourceName)
	set.Deliver(sourceName, source.Snapshot{Complete: true, Problems: []podspec.Problem{
		{File: "/m/a.yaml", Message: "bad"}, {File: "/m/b.yaml", Message: "others can read it", Warning: true}}})
	var got []string
	for _, p := range (problems{set}).Problems() {
		got = append(got, p.Message)
	}
	if want := []string{"bad", "warning: others can read it"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
