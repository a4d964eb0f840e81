package image

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/davit-agent/davit/test/testbed"
)

// Name is the reference of the image. Its entrypoint is /bin/actor.
const Name = "localhost/actor:1"

// build returns the program. Go's own cache makes the second build cheap.
var build = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "davit-actor-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "actor")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", file,
		"github.com/davit-agent/davit/test/oracle/actor/cmd/actor")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("running go build: %w\n%s", err, out)
	}
	return os.ReadFile(file)
})

// Specs returns the images, for testbed.Archive: Name, and two like it whose
// configuration names a stop signal and a user, localhost/actor-usr1:1 and
// localhost/actor-app:1.
func Specs(t testing.TB) []testbed.ImageSpec {
	t.Helper()
	data, err := build()
	if err != nil {
		t.Fatalf("building actor: %v", err)
	}
	plain := testbed.ImageSpec{
		Name:       Name,
		Entrypoint: []string{"/bin/actor"},
		Files: map[string]testbed.File{
			"/bin/actor":     {Data: data, Mode: 0o755},
			"/bin/forbidden": {Data: []byte("no program\n"), Mode: 0o644},
		},
	}
	signal, user := plain, plain
	signal.Name, signal.StopSignal = "localhost/actor-usr1:1", "SIGUSR1"
	user.Name, user.User = "localhost/actor-app:1", "app"
	return []testbed.ImageSpec{plain, signal, user}
}

// Archives packs the images into dir and returns their files.
func Archives(t testing.TB, dir string) []string {
	t.Helper()
	var files []string
	for _, s := range Specs(t) {
		files = append(files, testbed.Archive(t, dir, s))
	}
	return files
}
