package testbed

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestArchiveIsReproducibleAndComplete(t *testing.T) {
	spec := ImageSpec{
		Name: "example.com/web:1", Cmd: []string{"serve", ":80"}, Entrypoint: []string{"/bin/podtool"},
		User: "app", StopSignal: "SIGUSR1", Files: map[string]File{"/etc/motd": {Data: []byte("hi\n")}},
	}
	a, err := os.ReadFile(Archive(t, t.TempDir(), spec))
	if err != nil {
		t.Fatal(err)
	}
	file := Archive(t, t.TempDir(), spec)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("the same spec gave different archives")
	}
	img, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "app" || config.Config.StopSignal != "SIGUSR1" || len(config.RootFS.DiffIDs) != 2 {
		t.Errorf("config is %+v with %d layers", config.Config, len(config.RootFS.DiffIDs))
	}
}

func TestPodtool(t *testing.T) {
	tool := Podtool(t)
	run := func(args ...string) (string, int) {
		cmd := exec.Command(tool, args...)
		out, _ := cmd.Output()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if _, code := run("exit", "42"); code != 42 {
		t.Errorf("exit 42 ended with %d", code)
	}
	if _, code := run("nonsense"); code != 2 {
		t.Errorf("an unknown command ended with %d", code)
	}
	out, code := run("lines", "100000")
	if code != 0 || strings.Count(out, "\n") != 100000 || !strings.HasSuffix(out, "line 100000\n") {
		t.Errorf("lines printed %d lines, ended with %d", strings.Count(out, "\n"), code)
	}
	for _, kind := range []struct{ cmd, name string }{{"shm", "dv-test"}, {"sysv", "56423"}, {"mqueue", "dv-test"}} {
		t.Run(kind.cmd, func(t *testing.T) {
			// In namespaces of its own, so that nothing stays on the host.
			script := tool + " " + kind.cmd + " put " + kind.name + " hello && " + tool + " " + kind.cmd + " get " + kind.name
			if kind.cmd == "shm" {
				script = "busybox mount -t tmpfs none /dev/shm && " + script
			}
			out, err := exec.Command("unshare", "--ipc", "--mount", "sh", "-c", script).CombinedOutput()
			if err != nil || string(out) != "hello\n" {
				t.Errorf("%s: %q, %v", kind.cmd, out, err)
			}
		})
	}
}
