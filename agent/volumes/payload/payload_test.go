package payload

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

func local(name string) v1.LocalObjectReference { return v1.LocalObjectReference{Name: name} }

// values knows the ConfigMap "cm", the Secret "sec" and a field and a resource.
func values() Values {
	return Values{
		ConfigMap: func(name string) *v1.ConfigMap {
			if name != "cm" {
				return nil
			}
			return &v1.ConfigMap{Data: map[string]string{"a": "A", "b.conf": ""}, BinaryData: map[string][]byte{"bin": {0, 255, '\n'}}}
		},
		Secret: func(name string) *v1.Secret {
			if name != "sec" {
				return nil
			}
			return &v1.Secret{Data: map[string][]byte{"pw": []byte("geheim"), "both": []byte("data")}, StringData: map[string]string{"both": "string"}}
		},
		Field: func(f *v1.ObjectFieldSelector) (string, error) {
			if f.FieldPath != "metadata.name" {
				return "", fmt.Errorf("unsupported fieldPath: %v", f.FieldPath)
			}
			return "p1", nil
		},
		Resource: func(r *v1.ResourceFieldSelector) (string, error) {
			if r.ContainerName != "c" {
				return "", errors.New("container " + r.ContainerName + " not found")
			}
			return "42", nil
		},
	}
}

func configMap(name string, items ...v1.KeyToPath) v1.Volume {
	return v1.Volume{VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: local(name), Items: items}}}
}

func secret(name string, items ...v1.KeyToPath) v1.Volume {
	return v1.Volume{VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: name, Items: items}}}
}

func optional(v v1.Volume) v1.Volume {
	if v.ConfigMap != nil {
		v.ConfigMap.Optional = ptr.To(true)
	} else {
		v.Secret.Optional = ptr.To(true)
	}
	return v
}

func downward(items ...v1.DownwardAPIVolumeFile) v1.Volume {
	return v1.Volume{VolumeSource: v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{Items: items}}}
}

func field(path, of string) v1.DownwardAPIVolumeFile {
	return v1.DownwardAPIVolumeFile{Path: path, FieldRef: &v1.ObjectFieldSelector{FieldPath: of}}
}

func resource(path, container string) v1.DownwardAPIVolumeFile {
	return v1.DownwardAPIVolumeFile{Path: path, ResourceFieldRef: &v1.ResourceFieldSelector{ContainerName: container, Resource: "limits.cpu"}}
}

func projected(sources ...v1.VolumeProjection) v1.Volume {
	return v1.Volume{VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: sources}}}
}

func mode(v v1.Volume, m int32) v1.Volume {
	switch {
	case v.ConfigMap != nil:
		v.ConfigMap.DefaultMode = &m
	case v.Secret != nil:
		v.Secret.DefaultMode = &m
	case v.DownwardAPI != nil:
		v.DownwardAPI.DefaultMode = &m
	default:
		v.Projected.DefaultMode = &m
	}
	return v
}

// text is a payload for comparing: "path mode content".
func text(p Payload) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		out = append(out, fmt.Sprintf("%s %o %s", name, p[name].Mode, p[name].Data))
	}
	return out
}

func TestBuild(t *testing.T) {
	item := func(key, path string) v1.KeyToPath { return v1.KeyToPath{Key: key, Path: path} }
	cmSource := v1.VolumeProjection{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: local("cm")}}
	noCM := v1.VolumeProjection{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: local("gone")}}
	secSource := func(items ...v1.KeyToPath) v1.VolumeProjection {
		return v1.VolumeProjection{Secret: &v1.SecretProjection{LocalObjectReference: local("sec"), Items: items}}
	}
	fields := v1.VolumeProjection{DownwardAPI: &v1.DownwardAPIProjection{Items: []v1.DownwardAPIVolumeFile{field("a", "metadata.name")}}}
	for _, tc := range []struct {
		name string
		v    v1.Volume
		want []string
		err  string
	}{
		{name: "all keys", v: configMap("cm"), want: []string{"a 644 A", "b.conf 644 ", "bin 644 \x00\xff\n"}},
		{name: "default mode", v: mode(configMap("cm", item("bin", "x/y")), 0o400), want: []string{"x/y 400 \x00\xff\n"}},
		{name: "own mode", v: mode(configMap("cm", v1.KeyToPath{Key: "a", Path: "./x//y", Mode: ptr.To(int32(0))}, item("a", "z")), 0o777),
			want: []string{"x/y 0 A", "z 777 A"}},
		{name: "no ConfigMap", v: configMap("gone"), err: `configmap "gone" not found`},
		{name: "no key", v: configMap("cm", item("a", "a"), item("k", "k")), err: "configmap references non-existent config key: k"},
		{name: "optional without ConfigMap", v: optional(configMap("gone", item("a", "a")))},
		{name: "optional without key", v: optional(configMap("cm", item("k", "k"), item("a", "a"))), want: []string{"a 644 A"}},
		{name: "secret", v: mode(secret("sec"), 0o440), want: []string{"both 440 string", "pw 440 geheim"}},
		{name: "no Secret", v: secret("gone"), err: `secret "gone" not found`},
		{name: "no key of a Secret", v: secret("sec", item("k", "k")), err: "references non-existent secret key: k"},
		{name: "optional Secret", v: optional(secret("gone"))},
		{name: "downward", v: downward(field("name", "metadata.name"), resource("r/cpu", "c")), want: []string{"name 644 p1", "r/cpu 644 42"}},
		{name: "downward that fails", v: downward(field("x", "spec.x"), resource("cpu", "d"), field("y", "metadata.name")),
			err: "[unsupported fieldPath: spec.x, container d not found]"},
		{name: "downward without a reference", v: downward(v1.DownwardAPIVolumeFile{Path: "x"}), err: "x: needs a fieldRef or a resourceFieldRef"},
		{name: "projected, the later wins", v: projected(cmSource, secSource(item("pw", "dir/pw")), fields),
			want: []string{"a 644 p1", "b.conf 644 ", "bin 644 \x00\xff\n", "dir/pw 644 geheim"}},
		{name: "projected, all that fails", v: projected(noCM, secSource(item("k", "k"))),
			err: `[configmap "gone" not found, references non-existent secret key: k]`},
		{name: "projected without a source", v: projected(v1.VolumeProjection{ServiceAccountToken: &v1.ServiceAccountTokenProjection{}}), err: errSource.Error()},
		{name: "file and directory", v: projected(cmSource, secSource(item("pw", "a/pw"))), err: "invalid path: a is a file and a directory"},
		{name: "backsteps", v: configMap("cm", item("a", "x/../../y")), err: "invalid path: must not contain '..': x/../../y"},
		{name: "absolute", v: configMap("cm", item("a", "/etc/passwd")), err: "invalid path: must be relative path: /etc/passwd"},
		{name: "the writer's own name", v: configMap("cm", item("a", "./..data/x")), err: "invalid path: must not start with '..': ./..data/x"},
		{name: "dots below the top", v: configMap("cm", item("a", "x/..y")), want: []string{"x/..y 644 A"}},
		{name: "empty path", v: configMap("cm", item("a", "")), err: `invalid path: must not be empty: ""`},
		{name: "no file", v: configMap("cm", item("a", ".//.")), err: `invalid path: must name a file: ".//."`},
		{name: "NUL", v: configMap("cm", item("a", "x\x00y")), err: `invalid path: must not contain a NUL: "x\x00y"`},
		{name: "long name", v: configMap("cm", item("a", strings.Repeat("x", 256))), err: "invalid path: filenames must be less than or equal to 255 characters"},
		{name: "long path", v: configMap("cm", item("a", strings.Repeat("x/", 2049))), err: "invalid path: must be less than or equal to 4096 characters"},
		{name: "bad mode", v: mode(configMap("cm", item("a", "a")), 0o1777), err: "invalid mode of a: 01777: must be a number between 0 and 0777"},
	} {
		src, ok := Source(&tc.v)
		if !ok {
			t.Errorf("%s: no volume of files", tc.name)
			continue
		}
		got, err := Build(src, values())
		if tc.err != "" {
			if err == nil || err.Error() != tc.err {
				t.Errorf("%s: error %v, want %s", tc.name, err, tc.err)
			}
			continue
		}
		if diff := cmp.Diff(tc.want, text(got)); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", tc.name, err, diff)
		}
	}
	if _, ok := Source(&v1.Volume{VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}}); ok {
		t.Error("an emptyDir is made of files")
	}
}

// TestKeysThatAreNoNames: keys come from files that anybody wrote.
func TestKeysThatAreNoNames(t *testing.T) {
	for key, want := range map[string]string{
		"x/y":                    `invalid key "x/y": it names a file, so it holds no slash`,
		"..":                     "invalid path: must not contain '..': ..",
		"..data":                 "invalid path: must not start with '..': ..data",
		".":                      `invalid path: must name a file: "."`,
		"":                       `invalid path: must not be empty: ""`,
		strings.Repeat("k", 256): "invalid path: filenames must be less than or equal to 255 characters",
	} {
		val := values()
		val.ConfigMap = func(string) *v1.ConfigMap { return &v1.ConfigMap{Data: map[string]string{key: "", "a": ""}} }
		v := configMap("cm")
		src, _ := Source(&v)
		if _, err := Build(src, val); err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", key, err, want)
		}
	}
}

func TestDigest(t *testing.T) {
	base := func() Payload {
		return Payload{"a": {[]byte("x"), 0o644}, "b": {[]byte("y"), 0o644}}
	}
	seen := map[[32]byte]string{base().Digest(): "base"}
	if d := base().Digest(); seen[d] != "base" {
		t.Error("not a function of the payload")
	}
	for name, change := range map[string]func(Payload){
		"content":     func(p Payload) { p["a"] = File{[]byte("z"), 0o644} },
		"mode":        func(p Payload) { p["a"] = File{[]byte("x"), 0o600} },
		"path":        func(p Payload) { p["c"] = p["a"]; delete(p, "a") },
		"removed":     func(p Payload) { delete(p, "b") },
		"added":       func(p Payload) { p["c"] = File{} },
		"moved bytes": func(p Payload) { p["a"], p["b"] = File{[]byte("xy"), 0o644}, File{nil, 0o644} },
		"swapped":     func(p Payload) { p["a"], p["b"] = p["b"], p["a"] },
	} {
		p := base()
		change(p)
		if other := seen[p.Digest()]; other != "" {
			t.Errorf("%s: the same as %s", name, other)
		}
		seen[p.Digest()] = name
	}
}

func TestDirs(t *testing.T) {
	p := Payload{"a": {}, "b/c/d": {}, "b/e": {}, "f/g": {}}
	if diff := cmp.Diff([]string{"b", "b/c", "f"}, p.Dirs()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]bool{"a": true, "b": true, "f": true}, p.Tops()); diff != "" {
		t.Error(diff)
	}
}

// TestCheckPathKeepsInside tries paths of dots, slashes and letters: what is
// taken stays in the volume and off the writer's names.
func TestCheckPathKeepsInside(t *testing.T) {
	taken := 0
	var try func(p string)
	try = func(p string) {
		if CheckPath(p) == nil {
			taken++
			if clean := path.Clean(p); !fs.ValidPath(clean) || clean == "." || strings.HasPrefix(clean, "..") {
				t.Errorf("%q is taken", p)
			}
		}
		if len(p) < 7 {
			for _, c := range []string{".", "/", "a"} {
				try(p + c)
			}
		}
	}
	try("")
	if taken < 100 {
		t.Errorf("%d paths are taken", taken)
	}
}
