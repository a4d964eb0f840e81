//go:build goldens || vm

package cgroups

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/davit-agent/davit/test/testbed"
)

// image is what the pods run.
const image = "localhost/test:1"

const vmDir = "../../vm"

// job makes a directory for the VM with the named script and the program record.
func job(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	images := filepath.Join(dir, "images")
	if err := os.Mkdir(images, 0o755); err != nil {
		t.Fatal(err)
	}
	testbed.Archive(t, images, testbed.ImageSpec{Name: image})
	place(t, filepath.Join(vmDir, "lib.sh"), filepath.Join(dir, "lib.sh"))
	place(t, filepath.Join(vmDir, script), filepath.Join(dir, "run.sh"))
	cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "record"), "./record")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building record: %v\n%s", err, out)
	}
	return dir
}

// boot runs a job on a fresh disk; what it prints is the test's output.
func boot(t *testing.T, dir string) {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk.img")
	for _, args := range [][]string{{"disk", disk}, {"boot", disk, dir}} {
		// One machine at a time: two would each be half as fast.
		cmd := exec.Command("flock", append([]string{filepath.Join(os.TempDir(), "davit-vm.lock"), filepath.Join(vmDir, "vm.sh")}, args...)...)
		cmd.Env = append(os.Environ(), "VM_LIMIT=2400", "VM_MEMORY=4096")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			log, _ := os.ReadFile(filepath.Join(dir, "out", "journal.log"))
			t.Fatalf("vm.sh %s: %v\n%s", args[0], err, log[max(0, len(log)-8000):])
		}
	}
}

func place(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
