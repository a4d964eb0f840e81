package manifests

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ReadFiles reads all objects of files, directories and stdin ("-"). The error
// names everything that is wrong with them, one problem a line.
func ReadFiles(names []string, stdin io.Reader, namespace string) ([]Object, error) {
	var objs []Object
	var errs []error
	add := func(text []byte, err error, name string) {
		if err != nil {
			errs = append(errs, fmt.Errorf("reading %s: %w", name, bareFile(err)))
			return
		}
		found, problems := Read(text, name, namespace)
		objs = append(objs, found...)
		for _, p := range problems {
			errs = append(errs, p)
		}
	}
	for _, name := range names {
		if name == "-" {
			text, err := ReadAll(stdin)
			add(text, err, "stdin")
			continue
		}
		info, err := os.Stat(name)
		switch {
		case err != nil:
			add(nil, err, name)
			continue
		case !info.IsDir():
			text, err := readGiven(name)
			add(text, err, name)
			continue
		}
		files, err := inDirectory(name)
		if err != nil {
			errs = append(errs, err)
		}
		for _, path := range files {
			text, err := ReadFile(path)
			add(text, err, path)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return objs, nil
}

// bareFile is an error of the file system without the path.
func bareFile(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// readGiven reads what somebody named, which may be a pipe: a shell's <(...).
func readGiven(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadAll(f)
}

// inDirectory returns the manifests of a directory.
func inDirectory(name string) ([]string, error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, bareFile(err))
	}
	var out []string
	for _, e := range entries {
		if IsManifest(e.Name()) && !e.IsDir() {
			out = append(out, filepath.Join(name, e.Name()))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("reading %s: there is no *.yaml, *.yml or *.json in this directory", name)
	}
	return out, nil
}
