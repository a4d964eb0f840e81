package manifests

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/davit-agent/davit/agent/podspec/strictyaml"
)

func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	a := put(t, dir, "a.yaml", pod("a", "default", "i"))
	put(t, dir, "b.json", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"},"spec":{"containers":[{"name":"c","image":"i"}]}}`)
	put(t, dir, ".hidden.yaml", "}{")
	put(t, dir, "c.txt", "}{")
	if err := os.Mkdir(filepath.Join(dir, "sub.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		if f, err := os.OpenFile(pipe, os.O_WRONLY, 0); err == nil {
			f.WriteString(pod("p", "default", "i"))
			f.Close()
		}
	}()
	objs, err := ReadFiles([]string{a, dir, pipe, "-"}, strings.NewReader(pod("s", "default", "i")), "")
	var got []string
	for _, o := range objs {
		got = append(got, o.ID.String())
	}
	if want := "pod/a pod/a pod/b pod/p pod/s"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("%v: %v, want %s", err, got, want)
	}
}

// Everything that is wrong is told, and nothing is returned.
func TestReadFilesErrors(t *testing.T) {
	dir, empty := t.TempDir(), t.TempDir()
	put(t, dir, "a.yaml", "kind: Pod\n")
	if err := syscall.Mkfifo(filepath.Join(dir, "b.yaml"), 0o600); err != nil { // nobody writes to it
		t.Fatal(err)
	}
	big := put(t, t.TempDir(), "big.yaml", strings.Repeat("#", strictyaml.MaxSize+100))
	objs, err := ReadFiles([]string{dir, "/no/such/file", empty, big, "-"}, strings.NewReader(""), "")
	if err == nil || len(objs) != 0 {
		t.Fatalf("%v, %v", objs, err)
	}
	for _, want := range []string{dir + "/a.yaml:1: ", "reading " + dir + "/b.yaml: it is not a regular file\n", "reading /no/such/file: no such file or directory\n",
		"reading " + empty + ": there is no *.yaml", big + ":", "stdin:1: there is no object in it"} {
		if !strings.Contains(err.Error()+"\n", want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
}
