package images

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/test/testbed"
)

// index makes an index with an image for each architecture.
func index(t *testing.T, r *testbed.Registry, archs ...string) v1.ImageIndex {
	t.Helper()
	idx := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range archs {
		img := testbed.Image(t, testbed.ImageSpec{User: arch, Arch: arch, Empty: true,
			Files: map[string]testbed.File{"/arch": {Data: []byte(arch)}}})
		r.Push(t, "web:"+arch, img)
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: img,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	return idx
}

func TestPullPicksThePlatform(t *testing.T) {
	onBothDaemons(t, func(t *testing.T, bed *testbed.Bed, s *Store) {
		r := testbed.NewRegistry(t, testbed.RegistryOptions{})
		ref, digest := r.PushIndex(t, "web:all", index(t, r, "s390x", "amd64", "arm64"))
		img := mustPull(t, s, ref)
		if img.Config.User != "amd64" && img.Config.User != "arm64" {
			t.Errorf("the image is %s's", img.Config.User)
		}
		if want := r.Host + "/web@" + digest; len(img.RepoDigests) != 1 || img.RepoDigests[0] != want {
			t.Errorf("RepoDigests are %q, want the index's %s", img.RepoDigests, want)
		}
		if left := contents(t, s); left != "4 blobs, 1 snapshots" { // index, manifest, configuration, layer
			t.Errorf("there are %s", left)
		}
		ref, _ = r.PushIndex(t, "web:others", index(t, r, "s390x", "riscv64"))
		_, err := pullRef(t, s, ref)
		if err == nil || !strings.Contains(err.Error(), "no match for platform in manifest sha256:") ||
			!strings.Contains(err.Error(), "it is for linux/s390x, linux/riscv64, not for linux/") {
			t.Errorf("an index for others: %v", err)
		}
		_, err = pullRef(t, s, r.Host+"/web:s390x")
		if err == nil || !strings.Contains(err.Error(), "it is for linux/s390x, not for linux/") {
			t.Errorf("an image for another platform: %v", err)
		}
		noLeaks(t, bed)
	})
}

// lying are manifests that are not what they seem.
func lying(t *testing.T, r *testbed.Registry) map[string]struct{ ref, say string } {
	blob := func(data string) imagespec.Descriptor {
		d := imagespec.Descriptor{Digest: digest.FromString(data), Size: int64(len(data))}
		r.PutBlob(t, "lies", d.Digest.String(), []byte(data))
		return d
	}
	config := blob(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:` + strings.Repeat("1", 64) + `"]}}`)
	config.MediaType = imagespec.MediaTypeImageConfig
	layer := blob("this is a layer of thirty bytes")
	layer.MediaType = imagespec.MediaTypeImageLayer
	n := 0
	push := func(change func(*imagespec.Manifest)) string {
		m := imagespec.Manifest{MediaType: imagespec.MediaTypeImageManifest, Config: config, Layers: []imagespec.Descriptor{layer}}
		m.SchemaVersion = 2
		change(&m)
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		n++
		ref, _ := r.PutManifest(t, fmt.Sprintf("lies:%d", n), imagespec.MediaTypeImageManifest, data)
		return ref
	}
	return map[string]struct{ ref, say string }{
		"layer is longer":    {push(func(m *imagespec.Manifest) { m.Layers[0].Size-- }), "past expected size 30"},
		"layer is shorter":   {push(func(m *imagespec.Manifest) { m.Layers[0].Size++ }), "short read: expected 32 bytes but got 31"},
		"layer of no bytes":  {push(func(m *imagespec.Manifest) { m.Layers[0].Size = 0 }), "is said to have 0 bytes"},
		"layer of -1 bytes":  {push(func(m *imagespec.Manifest) { m.Layers[0].Size = -1 }), "is said to have -1 bytes"},
		"a petabyte":         {push(func(m *imagespec.Manifest) { m.Layers[0].Size = 1 << 50 }), "is said to have 1125899906842624 bytes"},
		"terabytes in all":   {push(func(m *imagespec.Manifest) { m.Layers[0].Size = 1 << 40; m.Layers = append(m.Layers, m.Layers[0]) }), "more than 1099511627776 bytes"},
		"huge configuration": {push(func(m *imagespec.Manifest) { m.Config.Size = 1 << 30 }), "configuration " + config.Digest.String() + " is said to have 1073741824 bytes"},
		"no such layer":      {push(func(m *imagespec.Manifest) { m.Layers[0].Digest = digest.FromString("none") }), "not found"},
		"not a digest":       {push(func(m *imagespec.Manifest) { m.Layers[0].Digest = "sha256:../../etc/passwd" }), "invalid checksum digest"},
		"many layers": {push(func(m *imagespec.Manifest) {
			m.Layers = make([]imagespec.Descriptor, 501)
			for i := range m.Layers {
				m.Layers[i] = layer
			}
		}), "has 501 layers"},
		"more layers":   {push(func(m *imagespec.Manifest) { m.Layers = append(m.Layers, layer) }), "number of layers and diffIDs don't match"},
		"wrong diff ID": {push(func(*imagespec.Manifest) {}), "failed to extract layer"},
		"a chart":       {push(func(m *imagespec.Manifest) { m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json" }), "is not of a container image"},
		"a signature": {push(func(m *imagespec.Manifest) {
			m.Layers[0].MediaType = "application/vnd.dev.cosign.simplesigning.v1+json"
		}), "which cannot be used"},
		"a foreign layer": {push(func(m *imagespec.Manifest) {
			m.Layers[0].MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
			m.Layers[0].URLs = []string{"http://127.0.0.1:1/secret"}
		}), "which cannot be used"},
	}
}

func TestPullOfLies(t *testing.T) {
	onBothDaemons(t, func(t *testing.T, bed *testbed.Bed, s *Store) {
		r := testbed.NewRegistry(t, testbed.RegistryOptions{})
		for name, c := range lying(t, r) {
			_, err := pullRef(t, s, c.ref)
			if err == nil || !strings.Contains(err.Error(), c.say) || !strings.Contains(err.Error(), c.ref) {
				t.Errorf("%s: %v, want %q in it", name, err, c.say)
			}
		}
		if left := contents(t, s); left != "0 blobs, 0 snapshots" {
			t.Errorf("there are %s", left)
		}
		noLeaks(t, bed)
	})
}

// escaping is a layer that tries to write outside the image.
func escaping(t *testing.T, target string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(h tar.Header, data string) {
		h.Mode, h.Size = 0o777, int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	up := strings.Repeat("../", 20)
	add(tar.Header{Name: target + "/absolute", Typeflag: tar.TypeReg}, "x")
	add(tar.Header{Name: up + target + "/dotdot", Typeflag: tar.TypeReg}, "x")
	add(tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: target}, "")
	add(tar.Header{Name: "link/by-link", Typeflag: tar.TypeReg}, "x")
	add(tar.Header{Name: "uplink", Typeflag: tar.TypeSymlink, Linkname: up + target}, "")
	add(tar.Header{Name: "uplink/by-uplink", Typeflag: tar.TypeReg}, "x")
	add(tar.Header{Name: "link/.wh.victim", Typeflag: tar.TypeReg}, "")
	add(tar.Header{Name: up + target + "/.wh.victim", Typeflag: tar.TypeReg}, "")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestPullOfALayerThatWantsOut(t *testing.T) {
	onBothDaemons(t, func(t *testing.T, bed *testbed.Bed, s *Store) {
		r := testbed.NewRegistry(t, testbed.RegistryOptions{})
		outside := bed.Path("outside")
		if err := os.Mkdir(outside, 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(outside, "victim"), []byte("alive"))
		layer := escaping(t, outside)
		config, _ := json.Marshal(imagespec.Image{Platform: imagespec.Platform{OS: "linux"},
			RootFS: imagespec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(layer)}}})
		m := imagespec.Manifest{MediaType: imagespec.MediaTypeImageManifest,
			Config: imagespec.Descriptor{MediaType: imagespec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))},
			Layers: []imagespec.Descriptor{{MediaType: imagespec.MediaTypeImageLayer, Digest: digest.FromBytes(layer), Size: int64(len(layer))}}}
		m.SchemaVersion = 2
		data, _ := json.Marshal(m)
		r.PutBlob(t, "bad", digest.FromBytes(config).String(), config)
		r.PutBlob(t, "bad", digest.FromBytes(layer).String(), layer)
		ref, _ := r.PutManifest(t, "bad:1", imagespec.MediaTypeImageManifest, data)
		_, err := pullRef(t, s, ref)
		t.Log("the pull returned", err)
		var found []string
		entries, _ := os.ReadDir(outside)
		for _, e := range entries {
			found = append(found, e.Name())
		}
		if len(found) != 1 || found[0] != "victim" {
			t.Errorf("outside the image there is now %q", found)
		}
		if err != nil { // refusing it is fine too
			if left := contents(t, s); left != "0 blobs, 0 snapshots" {
				t.Errorf("there are %s", left)
			}
		}
		noLeaks(t, bed)
	})
}

func TestPullWithCredentials(t *testing.T) {
	bed, s := newStore(t, "")
	good := runtime.Credential{Username: "ann", Password: "s3cret"}
	for name, o := range map[string]testbed.RegistryOptions{
		"basic": {User: "ann", Password: "s3cret"}, "bearer": {User: "ann", Password: "s3cret", Token: true},
	} {
		r := testbed.NewRegistry(t, o)
		ref, _ := r.Push(t, "web:1", noise(t, "app", 1<<16))
		bad := good
		bad.Password = "wr0ng"
		for _, creds := range [][]runtime.Credential{nil, {bad}, {bad, bad}} {
			if _, err := pullRef(t, s, ref, creds...); err == nil || strings.Contains(err.Error(), "wr0ng") || !strings.Contains(err.Error(), "failed to resolve reference") {
				t.Errorf("%s: with %d bad credentials: %v", name, len(creds), err)
			}
		}
		if _, err := pullRef(t, s, ref, bad, good); err != nil {
			t.Errorf("%s: with the second of two: %v", name, err)
		}
	}
	// Where the manifest is for all and the layers are not.
	r := testbed.NewRegistry(t, testbed.RegistryOptions{User: "ann", Password: "s3cret"})
	ref, _ := r.Push(t, "web:1", noise(t, "app", 1<<16))
	if _, err := s.Pull(context.Background(), runtime.PullRequest{Ref: ref, Credentials: []runtime.Credential{good}}); err != nil {
		t.Error(err)
	}
	noLeaks(t, bed)
}

func TestPullFromAMirrorWithAPrivateCA(t *testing.T) {
	bed := testbed.New(t, testbed.Options{})
	dir := t.TempDir()
	s := storeOf(t, bed, Config{HostsDir: dir})
	mirror := testbed.NewRegistry(t, testbed.RegistryOptions{TLS: true})
	origin := testbed.NewRegistry(t, testbed.RegistryOptions{})
	img := noise(t, "app", 1<<16)
	mirror.Push(t, "team/web:1", img)
	origin.Push(t, "team/web:1", img)
	if err := os.Mkdir(filepath.Join(dir, "registry.test"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "registry.test", "ca.pem"), mirror.CA)
	writeFile(t, filepath.Join(dir, "registry.test", "hosts.toml"), []byte(fmt.Sprintf(
		"server = \"http://%s\"\n[host.\"https://%s\"]\nca = \"ca.pem\"\n", origin.Host, mirror.Host)))
	got := mustPull(t, s, "registry.test/team/web:1")
	if !strings.HasPrefix(got.RepoDigests[0], "registry.test/team/web@sha256:") {
		t.Errorf("RepoDigests are %q: a mirror's name is in them", got.RepoDigests)
	}
	if seen := origin.Requests(); len(seen) > 0 {
		t.Errorf("the origin was asked: %v", seen)
	}
	if err := s.RemoveImage(t.Context(), "registry.test/team/web:1"); err != nil {
		t.Fatal(err)
	}
	// A mirror that breaks in the middle is left for the origin.
	mirror.Break(testbed.Only(testbed.IsBlob, testbed.Answer(500)))
	mustPull(t, s, "registry.test/team/web:1")
	if len(origin.Requests()) == 0 {
		t.Error("the origin was not asked")
	}
	noLeaks(t, bed)
}
