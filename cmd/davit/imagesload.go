package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/davit-agent/davit/cmd/davit/printer"
)

func newImagesLoad(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "load FILE|-",
		Short: "Load the images of an archive, or of stdin",
		Long: "Load the images of an archive, or of stdin: an OCI layout or what 'docker save' writes, gzipped or not, for\n" +
			"this machine's platform. The names of the images are printed.",
		Example: "  davit images load app.tar\n  docker save app:1 | davit images load -",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, size, err := openArchive(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			defer in.Close()
			show := newProgressView(cmd.ErrOrStderr(), "Loading "+args[0])
			names, err := g.client().LoadImages(cmd.Context(), &metered{in: in, size: size, view: show})
			show.end()
			switch {
			case errors.Is(err, context.Canceled):
				return fmt.Errorf("loading %s: interrupted", args[0])
			case err != nil:
				return fmt.Errorf("loading %s: %w", args[0], err)
			}
			for _, name := range names {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), printer.Safe(name)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// openArchive opens an archive and tells its size in bytes; 0: not known.
func openArchive(name string, stdin io.Reader) (io.ReadCloser, int64, error) {
	if name == "-" {
		if file, ok := stdin.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
			return nil, 0, usagef("load - reads an archive from stdin, which is a terminal: redirect it, or name a file")
		}
		return io.NopCloser(stdin), 0, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	if info.IsDir() {
		file.Close()
		return nil, 0, fmt.Errorf("%s is a directory: name an archive", name)
	}
	if !info.Mode().IsRegular() {
		return file, 0, nil
	}
	return file, info.Size(), nil
}

// metered shows how much of an archive was read, on a terminal.
type metered struct {
	in   io.Reader
	size int64
	view *progressView
	done int64
	told time.Time
}

// Read implements io.Reader.
func (m *metered) Read(p []byte) (int, error) {
	n, err := m.in.Read(p)
	m.done += int64(n)
	if m.view.fd < 0 {
		return n, err
	}
	state := printer.Progress{Label: m.view.label, Done: m.done, Total: m.size, Note: "sent"}
	if err == io.EOF {
		state.Note = "unpacking"
	}
	if now := time.Now(); now.Sub(m.told) > 200*time.Millisecond || err != nil {
		m.told = now
		m.view.show(state)
	}
	return n, err
}
