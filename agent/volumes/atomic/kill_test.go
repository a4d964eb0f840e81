package atomic

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/agent/volumes/payload"
)

// writerDir, in the environment, makes this test's binary a process that updates
// that volume until it is killed.
const writerDir = "DAVIT_TEST_WRITER_DIR"

// TestKilledWriter kills processes with SIGKILL at any instant of their updates.
func TestKilledWriter(t *testing.T) {
	if dir := os.Getenv(writerDir); dir != "" {
		for n := 1; ; n++ {
			_, err := Write(dir, generationOf(n), Options{})
			must(t, err)
			fmt.Println("updated")
		}
	}
	dir := t.TempDir()
	_, err := Write(dir, generationOf(0), Options{})
	must(t, err)
	rests := 0
	for i := range 15 {
		killWriter(t, dir)
		if err := together(dir); err != nil {
			t.Errorf("kill %d: %v", i, err)
		}
		if err := single(dir); err != nil {
			t.Errorf("kill %d: %v", i, err)
		}
		if len(hidden(t, dir)) > 2 {
			rests++
		}
		want := generationOf(1000 + i)
		_, err := Write(dir, want, Options{})
		must(t, err)
		must(t, Sweep(dir))
		if diff := cmp.Diff([]string{"..2", "..data"}, hidden(t, dir)); diff != "" {
			t.Errorf("kill %d: %s", i, diff)
		}
		if diff := cmp.Diff(contents(want), visible(t, dir)); diff != "" {
			t.Errorf("kill %d: %s", i, diff)
		}
	}
	t.Logf("%d of 15 kills left something", rests)
	if _, err := os.Lstat(filepath.Join(dir, dataTemp)); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// killWriter has a process make some updates and kills it in the middle of one.
func killWriter(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWriter$")
	cmd.Env = append(os.Environ(), writerDir+"="+dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for range 2 {
		if !lines.Scan() {
			t.Errorf("the writer ended: %v", cmd.Wait())
			return
		}
	}
	time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond)
	must(t, cmd.Process.Kill())
	if err := cmd.Wait(); err == nil {
		t.Error("the writer ended by itself")
	}
}

// generationOf makes files that prove that they belong together: each names the
// generation, one holds the hash of all others.
func generationOf(n int) payload.Payload {
	p, h := payload.Payload{}, sha256.New()
	for i := range 8 {
		data := fileOf(n, i)
		p[fmt.Sprintf("dir/%d", i)] = payload.File{Data: data, Mode: 0o644}
		h.Write(data)
	}
	p[fmt.Sprintf("only-%d", n)] = payload.File{Data: fmt.Appendf(nil, "%d\n", n), Mode: 0o644} // a key that comes and goes
	p["sum"] = payload.File{Data: fmt.Appendf(nil, "%d\n%s", n, hex.EncodeToString(h.Sum(nil))), Mode: 0o644}
	return p
}

// fileOf is one file of a generation, 4 bytes to 20 KB long.
func fileOf(n, i int) []byte {
	return fmt.Appendf(nil, "%d\n%s", n, strings.Repeat(string(rune('a'+n%26)), 1+(n*7919+i*104729)%20000))
}

// together reads all files through one descriptor of ..data. It returns
// ErrNotExist if they went meanwhile.
func together(dir string) error {
	fd, err := unix.Open(filepath.Join(dir, dataLink), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: dataLink, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	read := func(name string) (string, error) {
		return readFrom(fmt.Sprintf("/proc/self/fd/%d/%s", fd, name))
	}
	sum, err := read("sum")
	if err != nil {
		return err
	}
	gen, want, _ := strings.Cut(sum, "\n")
	h := sha256.New()
	for i := range 8 {
		data, err := read(fmt.Sprintf("dir/%d", i))
		if err != nil {
			return err
		}
		if g, _, _ := strings.Cut(data, "\n"); g != gen {
			return fmt.Errorf("dir/%d is of generation %s, sum of %s", i, g, gen)
		}
		_, _ = h.Write([]byte(data))
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("generation %s: hash %s, want %s", gen, got, want)
	}
	if only, err := read("only-" + gen); err != nil || only != gen+"\n" {
		return errors.Join(err, fmt.Errorf("generation %s: its own key holds %q", gen, only))
	}
	return nil
}

func readFrom(path string) (string, error) {
	data, err := os.ReadFile(path)
	return string(data), err
}

// single reads one file by its visible name, which has to be whole and there.
func single(dir string) error {
	data, err := readFrom(filepath.Join(dir, "dir/3"))
	if err != nil {
		return fmt.Errorf("by its name: %w", err)
	}
	var n int
	if _, err := fmt.Sscanf(data, "%d\n", &n); err != nil {
		return err
	}
	if want := string(fileOf(n, 3)); data != want {
		return fmt.Errorf("a part of dir/3: %d of %d bytes", len(data), len(want))
	}
	return nil
}
