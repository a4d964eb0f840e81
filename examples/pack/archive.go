package main

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Annotations of the archive's index that carry the image's name: the one of
// the OCI image layout specification, and containerd's, which may hold a whole
// reference.
const (
	refName        = "org.opencontainers.image.ref.name"
	containerdName = "io.containerd.image.name"
)

// writeArchive writes img as a tar file of an OCI image layout.
func writeArchive(w io.Writer, image string, img v1.Image) error {
	blobs, err := blobsOf(img)
	if err != nil {
		return err
	}
	index, err := indexOf(img, image)
	if err != nil {
		return err
	}
	layout, err := json.Marshal(map[string]string{"imageLayoutVersion": "1.0.0"})
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	for _, f := range append([]file{{name: "oci-layout", data: layout}, {name: "index.json", data: index}}, blobs...) {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.data)), ModTime: time.Unix(0, 0)}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := out.Write(f.data); err != nil {
			return err
		}
	}
	return out.Close()
}

// blobsOf returns manifest, config and layers under their names in the layout.
func blobsOf(img v1.Image) ([]file, error) {
	var files []file
	add := func(h v1.Hash, data []byte, err error) error {
		files = append(files, file{name: fmt.Sprintf("blobs/%s/%s", h.Algorithm, h.Hex), data: data})
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	manifest, err := img.RawManifest()
	if err := add(digest, manifest, err); err != nil {
		return nil, err
	}
	config, err := img.ConfigName()
	if err != nil {
		return nil, err
	}
	raw, err := img.RawConfigFile()
	if err := add(config, raw, err); err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		h, err := l.Digest()
		if err != nil {
			return nil, err
		}
		data, err := readLayer(l)
		if err := add(h, data, err); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func readLayer(l v1.Layer) ([]byte, error) {
	r, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// indexOf is the layout's index.json: one image under one name.
func indexOf(img v1.Image, image string) ([]byte, error) {
	desc, err := partial.Descriptor(img)
	if err != nil {
		return nil, err
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	return json.Marshal(v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Manifests: []v1.Descriptor{{
			MediaType:   desc.MediaType,
			Size:        desc.Size,
			Digest:      desc.Digest,
			Platform:    cfg.Platform(),
			Annotations: map[string]string{refName: image, containerdName: image},
		}},
	})
}
