package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// The archive is a valid OCI layout that holds the program under its name, and
// packing again gives the same bytes.
func TestPack(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.tar"), filepath.Join(dir, "b.tar")
	for _, out := range []string{a, b} {
		if err := run("localhost/x/web:v1", "github.com/davit-agent/davit/examples/web", out); err != nil {
			t.Fatal(err)
		}
	}
	first, second := read(t, a), read(t, b)
	if !bytes.Equal(first, second) {
		t.Error("two runs give different archives")
	}

	root := unpack(t, first)
	index, err := layout.ImageIndexFromPath(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("manifest %v, error %v", manifest, err)
	}
	desc := manifest.Manifests[0]
	if desc.Annotations[refName] != "localhost/x/web:v1" || desc.Annotations[containerdName] != "localhost/x/web:v1" {
		t.Errorf("annotations %v", desc.Annotations)
	}
	img, err := index.Image(desc.Digest)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := img.ConfigFile()
	if err != nil || len(cfg.Config.Entrypoint) != 1 || cfg.Config.Entrypoint[0] != "/web" || cfg.OS != "linux" {
		t.Errorf("config %v, error %v", cfg, err)
	}
}

func TestPackFails(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x.tar")
	if err := run("x", "github.com/davit-agent/davit/no/such/program", out); err == nil {
		t.Error("packed a program that does not exist")
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("left an archive behind")
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func unpack(t *testing.T, archive []byte) string {
	t.Helper()
	root := t.TempDir()
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return root
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, h.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
