// Package helper carries the helper program (cmd/davit-helper) inside of davit
// and writes it to disk, where containers and the log pump run it from.
//
// The file's name holds the hash of its content, so an upgrade never touches one
// that runs or is bind-mounted into a container, and two versions of davit may
// share a directory. Nothing is removed here: whoever knows what still runs may
// delete old ones.
//
// The program is embedded only by `make build`; a plain `go build` gives a davit
// that works until it needs the helper and then returns ErrMissing.
package helper

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

//go:embed all:embedded
var embedded embed.FS

const embeddedName = "embedded/davit-helper"

// ErrMissing means that this davit was built without its helper.
var ErrMissing = errors.New("this davit carries no helper program: build it with `make build`")

// Name returns the name that Install gives a program with the given hash.
func Name(hash string) string { return "davit-helper-" + hash }

// Hash returns the first 12 hex digits of the SHA-256 of the embedded program,
// which is also the first word that `davit-helper version` prints.
func Hash() (string, error) {
	sum, err := embeddedSum()
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(sum)[:12], nil
}

var embeddedSum = sync.OnceValues(func() ([]byte, error) {
	f, err := openEmbedded()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return hashOf(f)
})

// Install writes the embedded program to dir, which is made if need be, as
// davit-helper-<hash> (mode 0555) and returns the path. A file that is there
// with the right content is left alone, one with another content is replaced.
func Install(dir string) (string, error) {
	sum, err := embeddedSum()
	if err != nil {
		return "", err
	}
	return install(dir, sum, openEmbedded)
}

func openEmbedded() (fs.File, error) {
	f, err := embedded.Open(embeddedName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	return f, err
}

func install(dir string, sum []byte, open func() (fs.File, error)) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making directory of the helper: %w", err)
	}
	path := filepath.Join(dir, Name(hex.EncodeToString(sum)[:12]))
	if intact(path, sum) {
		return path, nil
	}
	src, err := open()
	if err != nil {
		return "", err
	}
	defer src.Close()
	tmp, err := os.CreateTemp(dir, ".davit-helper-")
	if err != nil {
		return "", fmt.Errorf("writing helper: %w", err)
	}
	defer os.Remove(tmp.Name()) // fails once it is renamed
	_, err = io.Copy(tmp, src)
	if err == nil {
		err = tmp.Chmod(0o555)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return "", fmt.Errorf("writing helper: %w", err)
	}
	if !intact(tmp.Name(), sum) {
		return "", fmt.Errorf("writing helper: %s does not read back as written", tmp.Name())
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return "", fmt.Errorf("writing helper: %w", err)
	}
	return path, syncDir(dir)
}

// intact tells whether path is the program with the given hash, and executable.
func intact(path string, sum []byte) bool {
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() || st.Mode().Perm() != 0o555 {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	have, err := hashOf(f)
	return err == nil && bytes.Equal(have, sum)
}

func hashOf(r io.Reader) ([]byte, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return nil, fmt.Errorf("hashing helper: %w", err)
	}
	return h.Sum(nil), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		return fmt.Errorf("writing helper: %w", err)
	}
	return nil
}
