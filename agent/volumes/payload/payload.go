package payload

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// File is one file of a volume.
type File struct {
	Data []byte
	Mode uint32 // permission bits
}

// Payload is the files of a volume by their path in it, which is relative and
// clean.
type Payload map[string]File

// Digest changes with any path, mode or content.
func (p Payload) Digest() [sha256.Size]byte {
	h := sha256.New()
	var head []byte
	for _, name := range slices.Sorted(maps.Keys(p)) {
		f := p[name]
		head = binary.LittleEndian.AppendUint64(head[:0], uint64(len(name)))
		head = append(head, name...)
		head = binary.LittleEndian.AppendUint32(head, f.Mode)
		head = binary.LittleEndian.AppendUint64(head, uint64(len(f.Data)))
		h.Write(head)
		h.Write(f.Data)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// Dirs returns the directories that the files lie in, without the top, parents
// first.
func (p Payload) Dirs() []string {
	dirs := map[string]bool{}
	for name := range p {
		for dir := path.Dir(name); dir != "." && !dirs[dir]; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	return slices.Sorted(maps.Keys(dirs))
}

// Tops returns the first names of all paths.
func (p Payload) Tops() map[string]bool {
	tops := make(map[string]bool, len(p))
	for name := range p {
		top, _, _ := strings.Cut(name, "/")
		tops[top] = true
	}
	return tops
}

// conflict finds a path that is both a file and a directory.
func (p Payload) conflict() error {
	for _, dir := range p.Dirs() {
		if _, file := p[dir]; file {
			return fmt.Errorf("invalid path: %s is a file and a directory", dir)
		}
	}
	return nil
}

// Source returns what a volume is made of, and false for a volume that is not
// made of files.
func Source(v *v1.Volume) (*v1.ProjectedVolumeSource, bool) {
	one := func(mode *int32, p v1.VolumeProjection) (*v1.ProjectedVolumeSource, bool) {
		return &v1.ProjectedVolumeSource{DefaultMode: mode, Sources: []v1.VolumeProjection{p}}, true
	}
	switch {
	case v.ConfigMap != nil:
		s := v.ConfigMap
		return one(s.DefaultMode, v1.VolumeProjection{ConfigMap: &v1.ConfigMapProjection{
			LocalObjectReference: s.LocalObjectReference, Items: s.Items, Optional: s.Optional}})
	case v.Secret != nil:
		s := v.Secret
		return one(s.DefaultMode, v1.VolumeProjection{Secret: &v1.SecretProjection{
			LocalObjectReference: v1.LocalObjectReference{Name: s.SecretName}, Items: s.Items, Optional: s.Optional}})
	case v.DownwardAPI != nil:
		return one(v.DownwardAPI.DefaultMode, v1.VolumeProjection{DownwardAPI: &v1.DownwardAPIProjection{Items: v.DownwardAPI.Items}})
	case v.Projected != nil:
		return v.Projected, true
	}
	return nil, false
}

const (
	maxPath = 4096
	maxName = 255
)

// CheckPath tells whether a file may have this path in a volume.
func CheckPath(p string) error {
	switch {
	case p == "":
		return fmt.Errorf("invalid path: must not be empty: %q", p)
	case p[0] == '/':
		return fmt.Errorf("invalid path: must be relative path: %s", p)
	case len(p) > maxPath:
		return fmt.Errorf("invalid path: must be less than or equal to %d characters", maxPath)
	case strings.ContainsRune(p, 0):
		return fmt.Errorf("invalid path: must not contain a NUL: %q", p)
	case path.Clean(p) == ".":
		return fmt.Errorf("invalid path: must name a file: %q", p)
	}
	for name := range strings.SplitSeq(p, "/") {
		if name == ".." {
			return fmt.Errorf("invalid path: must not contain '..': %s", p)
		}
		if len(name) > maxName {
			return fmt.Errorf("invalid path: filenames must be less than or equal to %d characters", maxName)
		}
	}
	if strings.HasPrefix(path.Clean(p), "..") {
		return fmt.Errorf("invalid path: must not start with '..': %s", p)
	}
	return nil
}
