package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// linger is how long files that were replaced in a volume can be counted on: a
// reader that is held up for longer may find them gone.
const linger = time.Second

// whole reads a volume over and over, in turn as a program does that wants all
// or nothing, by opening ..data once, and by the visible name of one file. It
// ends with 1 at the first part of a volume or of a file.
func whole(args []string) int {
	dir, end := args[0], time.Now().Add(duration(args, 1, time.Second))
	good, late := 0, 0
	for time.Now().Before(end) {
		for _, look := range []func(string) error{together, single} {
			began := time.Now()
			switch err := look(dir); {
			case err == nil:
				good++
			case time.Since(began) > linger:
				late++
			default:
				return fail(err)
			}
		}
		time.Sleep(time.Millisecond) // leaves the writer a processor
	}
	fmt.Printf("%d whole, %d late\n", good, late)
	return 0
}

// together checks the file "sum": SHA-256, in hex, over "<name> <length> " and
// the content of all other files, by name.
func together(dir string) error {
	top, err := os.OpenRoot(filepath.Join(dir, "..data"))
	if err != nil {
		return err
	}
	defer top.Close()
	found, err := fs.ReadDir(top.FS(), ".")
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(a, b fs.DirEntry) int { return bytes.Compare([]byte(a.Name()), []byte(b.Name())) })
	h := sha256.New()
	var want []byte
	for _, e := range found {
		data, err := top.ReadFile(e.Name())
		if err != nil {
			return err
		}
		if e.Name() == "sum" {
			want = data
			continue
		}
		fmt.Fprintf(h, "%s %d %s", e.Name(), len(data), data)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != string(want) {
		return fmt.Errorf("a part of a volume: %d files, hash %s, want %q", len(found), got, want)
	}
	return nil
}

// single checks the file "self", whose first line is the SHA-256 of the rest.
func single(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, "self"))
	if err != nil {
		return err
	}
	want, rest, _ := bytes.Cut(data, []byte{'\n'})
	if got := sha256.Sum256(rest); hex.EncodeToString(got[:]) != string(want) {
		return fmt.Errorf("a part of a file: %d bytes, want hash %q", len(data), want)
	}
	return nil
}

// swap exchanges names for symbolic links that lead elsewhere, in bursts, so that
// who looks meanwhile sees the one, the other, and changes at every step.
func swap(args []string) int {
	if len(args)%3 != 0 {
		return fail(fmt.Errorf("swap: want DIR NAME TARGET, and more such three"))
	}
	for i := 0; i < len(args); i += 3 {
		// By descriptor: the links must not lead this program astray.
		at, err := unix.Open(args[i], unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return fail(err)
		}
		name := args[i+1]
		if err := unix.Symlinkat(args[i+2], at, ".swap"); err != nil && !errors.Is(err, unix.EEXIST) {
			return fail(err)
		}
		go func() {
			for {
				for range rand.IntN(20) {
					if err := unix.Renameat2(at, name, at, ".swap", unix.RENAME_EXCHANGE); err != nil {
						os.Exit(fail(err))
					}
				}
				time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond)
			}
		}()
	}
	return sleep(nil)
}
