package testbed

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	goruntime "runtime"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// ImageSpec is an image for a test. Unless Empty it holds busybox with all its
// applets in /bin, podtool in /bin, and a passwd and group file with root and
// app (1000:1000, home /home/app, also in group 2000 "extra").
type ImageSpec struct {
	Name  string          // reference, as example.com/web:1
	Files map[string]File // by absolute path; a layer of their own over the base
	Empty bool            // without the base layer

	Entrypoint, Cmd, Env []string
	User, WorkingDir     string
	StopSignal           string

	OCI  bool   // an OCI layout in a tar, instead of what "docker save" writes
	OS   string // "" is linux
	Arch string // "" is this machine's
	File string // name of the archive; "" derives one from Name
}

// File is a file of an image.
type File struct {
	Data []byte
	Link string // a symbolic link to there, instead of Data
	Mode int64  // 0 is 0644
	UID  int
}

// Archive builds an image, writes it as an archive into dir and returns its
// path. The same spec gives the same bytes.
func Archive(t testing.TB, dir string, s ImageSpec) string {
	t.Helper()
	img, err := s.build()
	if err != nil {
		t.Fatalf("building image %q: %v", s.Name, err)
	}
	file := s.File
	if file == "" {
		file = strings.NewReplacer("/", "_", ":", "_", "@", "_").Replace(s.Name) + ".tar"
	}
	out := filepath.Join(dir, file)
	if s.OCI {
		err = writeOCI(out, s.Name, img)
	} else {
		var tag name.Tag
		if tag, err = name.NewTag(s.Name, name.WithDefaultTag("latest")); err == nil {
			err = tarball.WriteToFile(out, tag, img)
		}
	}
	if err != nil {
		t.Fatalf("writing archive of image %q: %v", s.Name, err)
	}
	return out
}

// Image builds the image without writing it, for a registry of the test's own.
func Image(t testing.TB, s ImageSpec) v1.Image {
	t.Helper()
	img, err := s.build()
	if err != nil {
		t.Fatalf("building image %q: %v", s.Name, err)
	}
	return img
}

func (s ImageSpec) build() (v1.Image, error) {
	img := empty.Image
	var layers []v1.Layer
	if !s.Empty {
		base, err := baseLayer()
		if err != nil {
			return nil, err
		}
		layers = append(layers, base)
	}
	if len(s.Files) > 0 {
		l, err := layerOf(s.Files)
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	img, err := mutate.AppendLayers(img, layers...)
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = orElse(s.OS, "linux"), orElse(s.Arch, goruntime.GOARCH)
	file.Config = v1.Config{Entrypoint: s.Entrypoint, Cmd: s.Cmd, Env: s.Env, User: s.User,
		WorkingDir: s.WorkingDir, StopSignal: s.StopSignal}
	return mutate.ConfigFile(img, file)
}

func orElse(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

const (
	basePasswd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
	baseGroup  = "root:x:0:\napp:x:1000:\nextra:x:2000:app\nnogroup:x:65534:\n"
)

// baseLayer returns the layer that all images share. It is compressed once.
var baseLayer = sync.OnceValues(func() (v1.Layer, error) {
	tool, err := buildPodtool()
	if err != nil {
		return nil, err
	}
	files := map[string]File{
		"/etc/passwd":        {Data: []byte(basePasswd)},
		"/etc/group":         {Data: []byte(baseGroup)},
		"/tmp/.keep":         {},
		"/root/.keep":        {},
		"/home/app/.profile": {Data: []byte("# app\n"), UID: 1000},
	}
	for file, from := range map[string]string{"/bin/podtool": tool, "/bin/busybox": "/bin/busybox"} {
		data, err := os.ReadFile(from)
		if err != nil {
			return nil, fmt.Errorf("reading a program for test images (Debian's package busybox-static): %w", err)
		}
		files[file] = File{Data: data, Mode: 0o755}
	}
	for _, applet := range strings.Fields(applets) {
		files["/bin/"+applet] = File{Link: "busybox"}
	}
	return layerOf(files)
})

// applets are the names under which busybox is linked: those of which tests and
// examples make use.
const applets = `sh ash cat ls echo printf env id hostname sleep true false test [ ps kill touch mkdir rm cp mv
	ln chmod chown stat head tail wc grep sed awk cut sort uniq tr seq dd df mount umount ip ping ping6 nc wget
	nslookup httpd sysctl date uname pwd readlink find xargs tee od hexdump md5sum sha256sum tty stty whoami
	vi less top free nproc unshare setsid timeout sync mktemp mkfifo basename dirname expr yes`

// layerOf packs files into a layer, with all directories on their way.
func layerOf(files map[string]File) (v1.Layer, error) {
	data, err := tarOf(files)
	if err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	return tarball.LayerFromOpener(open, tarball.WithCompression(compression.GZip),
		tarball.WithCompressionLevel(1), tarball.WithCompressedCaching)
}

func tarOf(files map[string]File) ([]byte, error) {
	names := make([]string, 0, len(files))
	dirs := map[string]bool{}
	for n := range files {
		names = append(names, n)
		for d := path.Dir(n); d != "/"; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	for d := range dirs {
		names = append(names, d)
	}
	sort.Strings(names)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, n := range names {
		f := files[n]
		h := &tar.Header{Name: strings.TrimPrefix(n, "/"), Mode: 0o644, Uid: f.UID, Gid: f.UID,
			ModTime: time.Unix(0, 0), Format: tar.FormatPAX, Typeflag: tar.TypeReg, Size: int64(len(f.Data))}
		switch {
		case dirs[n]:
			h.Name, h.Typeflag, h.Mode, h.Size = h.Name+"/", tar.TypeDir, 0o755, 0
			if n == "/tmp" {
				h.Mode = 0o1777
			}
		case f.Link != "":
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.Link, 0o777
		case f.Mode != 0:
			h.Mode = f.Mode
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(f.Data); err != nil {
				return nil, err
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// writeOCI writes an image as an OCI layout in a tar file.
func writeOCI(file, ref string, img v1.Image) error {
	dir, err := os.MkdirTemp("", "dv-oci")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	marks := map[string]string{"io.containerd.image.name": ref, "org.opencontainers.image.ref.name": ref}
	if ref == "" {
		marks = nil
	}
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	err = p.AppendImage(img, layout.WithAnnotations(marks),
		layout.WithPlatform(v1.Platform{OS: config.OS, Architecture: config.Architecture}))
	if err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	w := tar.NewWriter(out)
	if err := addTree(w, os.DirFS(dir)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return out.Close()
}

// addTree adds all regular files of a tree, in the order of their names.
func addTree(w *tar.Writer, tree fs.FS) error {
	return fs.WalkDir(tree, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
}
