package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

// serve makes a node with a registry on its loopback that has podtool's image as
// tool:1, and returns the image's name there and its digest.
func serve(t *testing.T, o testbed.RegistryOptions, config string) (n *node.Node, r *testbed.Registry, ref, digest string) {
	t.Helper()
	bed := testbed.New(t, testbed.Options{})
	o.Listener = bed.Listen(t, "127.0.0.1:0")
	r = testbed.NewRegistry(t, o)
	// A layer that takes a while, so that there is a middle of a pull.
	big := make([]byte, 4<<20)
	if _, err := rand.Read(big); err != nil {
		t.Fatal(err)
	}
	ref, digest = r.Push(t, "tool:1", testbed.Image(t, testbed.ImageSpec{Files: map[string]testbed.File{"/big": {Data: big}}}))
	return node.Start(t, bed, node.Options{Config: config}), r, ref, digest
}

// of is podtool's manifest with another image.
func of(ref, manifest string) string { return strings.ReplaceAll(manifest, node.Image, ref) }

// A pod whose image is in a registry runs, tells how far the pull is and reports
// the image as kubelet does; by digest as well, and with a policy of Always the
// tag is asked for each time.
func TestImageIsPulled(t *testing.T) {
	n, r, ref, digest := serve(t, testbed.RegistryOptions{}, "")
	name := strings.TrimSuffix(ref, ":1")
	hold := make(chan struct{})
	r.Break(testbed.Only(testbed.IsBlob, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		select {
		case <-hold:
		case <-req.Context().Done():
		}
		next.ServeHTTP(w, req)
	}))
	n.Apply("pulled.yaml", of(ref, podtool("pulled", "Always", "sleep")))
	n.Apply("same.yaml", of(ref, podtool("same", "Always", "sleep")))
	n.WaitPod("pulled", patience, waiting("ContainerCreating", fmt.Sprintf("Pulling image %q: ", ref)))
	if out, _, code := n.CLI("explain", "pod", "pulled"); code != 0 || !strings.Contains(out, "Pulling image") {
		t.Errorf("explain: exit code %d, %s", code, out)
	}
	close(hold)
	p := n.WaitPod("pulled", patience, node.Ready)
	n.WaitPod("same", patience, node.Ready)
	if c := p.Status.ContainerStatuses[0]; c.Image != ref || c.ImageID != name+"@"+digest {
		t.Errorf("image %q, imageID %q, want %q and %q", c.Image, c.ImageID, ref, name+"@"+digest)
	}
	fetched := map[string]int{}
	for _, q := range r.Requests() {
		if q.Method == http.MethodGet && strings.Contains(q.Path, "/blobs/") {
			fetched[q.Path]++
		}
	}
	for path, times := range fetched {
		if times != 1 {
			t.Errorf("%s was fetched %d times", path, times)
		}
	}
	n.Apply("digest.yaml", of(name+"@"+digest, podtool("digest", "Always", "sleep")))
	n.WaitPod("digest", patience, node.Ready)

	moved, to := r.Push(t, "tool:1", testbed.Image(t, testbed.ImageSpec{Files: map[string]testbed.File{"/new": {Data: []byte("x")}}}))
	always := strings.Replace(of(moved, podtool("always", "Always", "sleep")), "command:", "imagePullPolicy: Always, command:", 1)
	n.Apply("always.yaml", always)
	p = n.WaitPod("always", patience, node.Ready)
	if got := p.Status.ContainerStatuses[0].ImageID; got != name+"@"+to {
		t.Errorf("after the tag moved the imageID is %q, want %q", got, name+"@"+to)
	}
	noLeaks(t, n)
}

// What a registry does wrong is told, as kubelet's users know it, and mended
// faults are noticed.
func TestRegistryFails(t *testing.T) {
	n, r, ref, _ := serve(t, testbed.RegistryOptions{User: "user", Password: "hunter2"}, "")
	n.Apply("secret.yaml", of(ref, podtool("locked", "Always", "sleep")))
	n.WaitPod("locked", patience, waiting("ErrImagePull", "pull access denied, repository does not exist or may require authorization"))
	n.Apply("none.yaml", of(strings.Replace(ref, "tool:1", "tool:none", 1), podtool("none", "Always", "sleep")))
	n.WaitPod("none", patience, waiting("ErrImagePull", "failed to pull and unpack image"))

	auth := base64.StdEncoding.EncodeToString([]byte("user:hunter2"))
	config, err := json.Marshal(map[string]any{"auths": map[string]any{r.Host: map[string]string{"auth": auth}}})
	if err != nil {
		t.Fatal(err)
	}
	pod := of(ref, podtool("unlocked", "Always", "sleep"))
	pod = strings.Replace(pod, "  restartPolicy:", "  imagePullSecrets: [{name: pull}]\n  restartPolicy:", 1)
	n.Apply("unlocked.yaml", pod)
	n.WaitPod("unlocked", patience, waiting("ErrImagePull", "pull secrets that do not exist: pull"))
	n.Apply("pullsecret.yaml", fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: pull}\ntype: kubernetes.io/dockerconfigjson\nstringData:\n  .dockerconfigjson: '%s'\n", config))
	n.WaitPod("unlocked", patience, node.Ready)
	// What one pod's secret brought is there for the other, whose policy is IfNotPresent.
	n.WaitPod("locked", 2*patience, node.Ready)
	log, err := os.ReadFile(n.Log)
	if err != nil || strings.Contains(string(log), "hunter2") || strings.Contains(string(log), auth) {
		t.Errorf("the password is in davit's log, or %v", err)
	}
	noLeaks(t, n)
}

// davit is killed in the middle of pulls; the next one completes them, and what
// nobody wants any more leaves nothing.
func TestPullIsInterrupted(t *testing.T) {
	n, r, ref, _ := serve(t, testbed.RegistryOptions{}, "")
	var kills atomic.Int32
	r.Break(testbed.Only(testbed.IsBlob, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if kills.Load() < 3 { // half of it, then nothing more
			testbed.Stalled(w, req, next)
			return
		}
		next.ServeHTTP(w, req)
	}))
	n.Apply("pulled.yaml", of(ref, podtool("pulled", "Always", "sleep")))
	for range 3 {
		n.WaitPod("pulled", patience, waiting("ContainerCreating", "Pulling image"))
		testbed.Poll(t, patience, func() string {
			if len(ingests(t, n)) == 0 {
				return "nothing is being fetched"
			}
			return ""
		})
		n.Kill()
		kills.Add(1)
		n.Start()
		n.Await()
	}
	n.WaitPod("pulled", patience, node.Ready)

	// A pod that is deleted takes its pull along.
	kills.Store(0)
	other, _ := r.Push(t, "other:1", testbed.Image(t, testbed.ImageSpec{Files: map[string]testbed.File{"/o": {Data: bytes.Repeat([]byte("o"), 1<<20)}}}))
	n.Apply("other.yaml", of(other, podtool("other", "Always", "sleep")))
	n.WaitPod("other", patience, waiting("ContainerCreating", "Pulling image"))
	n.Withdraw("other.yaml")
	n.WaitPod("other", patience, node.Gone)
	testbed.Poll(t, patience, func() string {
		if left := append(ingests(t, n), leases(t, n)...); len(left) > 0 {
			return fmt.Sprintf("left: %v", left)
		}
		return ""
	})
	noLeaks(t, n)
}

// daemon is a client of the node's containerd in davit's namespace.
func daemon(t *testing.T, n *node.Node) (*client.Client, context.Context) {
	t.Helper()
	c, err := client.New(n.Bed.Address, client.WithDefaultNamespace("davit"), client.WithTimeout(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, t.Context()
}

func ingests(t *testing.T, n *node.Node) (refs []string) {
	t.Helper()
	c, ctx := daemon(t, n)
	list, err := c.ContentStore().ListStatuses(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		refs = append(refs, s.Ref)
	}
	return refs
}

func leases(t *testing.T, n *node.Node) (ids []string) {
	t.Helper()
	c, ctx := daemon(t, n)
	list, err := c.LeasesService().List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range list {
		ids = append(ids, l.ID)
	}
	return ids
}

// davit images lists, pulls, loads and removes.
func TestImagesCommand(t *testing.T) {
	n, _, ref, _ := serve(t, testbed.RegistryOptions{}, "")
	run := func(want int, args ...string) string {
		t.Helper()
		stdout, stderr, code := n.CLI(append([]string{"images"}, args...)...)
		if code != want {
			t.Errorf("davit images %v: exit %d, want %d\n%s%s", args, code, want, stdout, stderr)
		}
		return stdout + stderr
	}
	run(0, "pull", ref)
	if out := run(0, "ls"); !strings.Contains(out, strings.TrimSuffix(ref, ":1")) {
		t.Errorf("the image that was pulled is not listed:\n%s", out)
	}
	run(0, "rm", ref)
	if out := run(0, "ls", "-o", "name"); strings.Contains(out, ref) {
		t.Errorf("the image that was removed is listed:\n%s", out)
	}
	run(1, "rm", ref)
	run(1, "pull", strings.Replace(ref, "tool", "absent", 1))

	// A pod that waits for an image runs soon after somebody loads it.
	n.Apply("loaded.yaml", strings.Replace(of("localhost/loaded:1", podtool("loaded", "Always", "sleep")), "command:", "imagePullPolicy: Never, command:", 1))
	n.WaitPod("loaded", patience, waiting("ErrImageNeverPull", `Container image "localhost/loaded:1" is not present with pull policy of Never`))
	run(0, "load", testbed.Archive(t, t.TempDir(), testbed.ImageSpec{Name: "localhost/loaded:1"}))
	n.WaitPod("loaded", patience, node.Ready)
	var list struct {
		Items []struct{ Names, Pods []string }
	}
	if err := json.Unmarshal([]byte(run(0, "ls", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, i := range list.Items {
		found = found || slices.Contains(i.Names, "localhost/loaded:1") && strings.Contains(strings.Join(i.Pods, " "), "loaded")
	}
	if !found {
		t.Errorf("the loaded image and its pod are not in %+v", list)
	}
	n.WaitPod("loaded", patience, func(p *v1.Pod) string { return node.Ready(p) })
	noLeaks(t, n)
}
