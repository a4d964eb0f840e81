// Command pack builds the example's web server and packs it into an OCI archive
// that davit preloads:
//
//	pack [-name localhost/davit-example/web:v1] [-program ./examples/web] [-out FILE]
//
// The same sources and the same Go give the same bytes, byte for byte.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	log.SetFlags(0)
	name := flag.String("name", "localhost/davit-example/web:v1", "full name of the image")
	program := flag.String("program", "./examples/web", "package of the program that becomes its entry point")
	out := flag.String("out", "bin/images/web.tar", "the archive")
	flag.Parse()
	if err := run(*name, *program, *out); err != nil {
		log.Fatalln("pack:", err)
	}
}

func run(name, program, out string) error {
	dir, err := os.MkdirTemp("", "davit-pack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	exe := filepath.Join(dir, "program")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", exe, program)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building %s: %w", program, err)
	}
	binary, err := os.ReadFile(exe)
	if err != nil {
		return err
	}
	img, err := programImage("/"+filepath.Base(program), binary)
	if err != nil {
		return fmt.Errorf("making the image: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(out), ".pack-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := writeArchive(f, name, img); err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	return os.Rename(f.Name(), out)
}
