package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/cmd/davit/printer"
)

func newImagesPull(g *global) *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "pull IMAGE",
		Short: "Pull an image from its registry, whether it is here or not",
		Long: "Pull an image from its registry, whether it is here or not. The node's credentials (images.credentials) are\n" +
			"used, and before them those of --creds. Pods' pulls and this one take turns.",
		Example: "  davit images pull registry.example/app:1\n  davit images pull --creds me registry.example/app:1\n" +
			"  davit images pull --creds me registry.example/app:1 < password-file",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := wire.ImagePull{Ref: args[0], Username: user}
			if cmd.Flags().Changed("creds") {
				if user == "" || strings.Contains(user, ":") { // the value may hold a password: it is not repeated
					return usagef("--creds takes the user's name alone: a password on the command line can be read by everybody on " +
						"this machine. It is asked for, or read from stdin")
				}
				var err error
				if req.Password, err = readPassword(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr()); err != nil {
					return err
				}
			}
			show := newProgressView(cmd.ErrOrStderr(), "Pulling "+args[0])
			img, err := g.client().PullImage(cmd.Context(), req, func(p wire.ImageProgress) { show.pull(p) })
			show.end()
			switch {
			case errors.Is(err, context.Canceled):
				return fmt.Errorf("pulling image %q: interrupted", args[0])
			case err != nil:
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s %s\n", printer.Safe(strings.Join(img.Names, ",")), printer.ShortID(img.ID), printer.Bytes(img.Size))
			return err
		},
	}
	cmd.Flags().StringVar(&user, "creds", "", "user at the registry; the password is asked for, or is the first line of stdin")
	return cmd
}

// maxPassword bounds a password, in bytes: tokens that serve as one have a few
// KiB.
const maxPassword = 32 << 10

// readPassword asks for a password if in is a terminal, and otherwise reads a
// line.
func readPassword(ctx context.Context, in io.Reader, errw io.Writer) (string, error) {
	if file, ok := in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return askPassword(ctx, int(file.Fd()), errw)
	}
	line, err := bufio.NewReader(io.LimitReader(in, maxPassword+1)).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	switch {
	case err != nil && err != io.EOF:
		return "", fmt.Errorf("reading the password: %w", err)
	case len(line) > maxPassword:
		return "", fmt.Errorf("reading the password: it has more than %d bytes", maxPassword)
	case line == "":
		return "", errors.New("reading the password: the first line of stdin is empty")
	}
	return line, nil
}

// askPassword reads a line that is not shown. Ctrl-C ends it.
func askPassword(ctx context.Context, fd int, errw io.Writer) (string, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("asking for the password: %w", err)
	}
	fmt.Fprint(errw, "Password: ")
	defer fmt.Fprintln(errw)
	type answer struct {
		text []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		got <- answer{text, err}
	}()
	select {
	case <-ctx.Done(): // the Read under way is left behind
		term.Restore(fd, before)
		return "", errors.New("asking for the password: interrupted")
	case a := <-got:
		switch {
		case a.err != nil:
			return "", fmt.Errorf("asking for the password: %w", a.err)
		case len(a.text) == 0:
			return "", errors.New("asking for the password: none was given")
		}
		return string(a.text), nil
	}
}

// progressView shows how far something is: one line that changes on a terminal,
// and otherwise a line whenever a layer or a stage is done.
type progressView struct {
	out   io.Writer
	label string
	fd    int // of the terminal; -1: there is none

	mu    sync.Mutex // an upload may be read after its answer is there
	last  string
	drawn bool
	ended bool
}

func newProgressView(out io.Writer, label string) *progressView {
	v := &progressView{out: out, label: label, fd: -1}
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		v.fd = int(file.Fd())
	}
	return v
}

func (v *progressView) pull(p wire.ImageProgress) {
	note := p.Stage
	switch {
	case p.Stage == "" || p.Stage == "resolving":
		note = "asking the registry"
	case p.Stage == "waiting":
		note = "waiting for other pulls"
	case p.Layers > 0:
		note = fmt.Sprintf("%s %d/%d layers", p.Stage, p.LayersDone, p.Layers)
	}
	v.show(printer.Progress{Label: v.label, Note: note, Done: p.Bytes, Total: p.Total})
}

// show draws the state; without a terminal only when the note is a new one.
func (v *progressView) show(p printer.Progress) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended {
		return
	}
	if v.fd < 0 {
		if line := p.Label + ": " + p.Note; line != v.last {
			v.last = line
			fmt.Fprintln(v.out, printer.Safe(line))
		}
		return
	}
	width, _, err := term.GetSize(v.fd)
	if err != nil || width < 1 {
		width = 80
	}
	v.drawn = true
	fmt.Fprint(v.out, "\r\x1b[K"+p.Line(width-1)) // the last column would break the line
}

// end removes the line that was drawn; nothing is shown after it.
func (v *progressView) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = true
	if v.drawn {
		fmt.Fprint(v.out, "\r\x1b[K")
	}
}
