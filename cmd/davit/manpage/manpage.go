// Package manpage makes man pages of commands: of the same words that their help
// is made of, so that the two cannot differ. It writes roff itself, since what a
// page needs is a dozen macros of man(7).
package manpage

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Commands returns the commands that have a page: cmd and what help shows below it.
func Commands(cmd *cobra.Command) []*cobra.Command {
	out := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			out = append(out, Commands(sub)...)
		}
	}
	return out
}

// Name returns the name of a command's page: davit-get for davit get.
func Name(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// Write writes a page for each command below root, and for root, into dir.
func Write(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing man pages: %w", err)
	}
	for _, cmd := range Commands(root) {
		var b strings.Builder
		page(&b, cmd)
		if err := os.WriteFile(filepath.Join(dir, Name(cmd)+".8"), []byte(b.String()), 0o644); err != nil {
			return fmt.Errorf("writing man pages: %w", err)
		}
	}
	return nil
}

// roff makes text fit for roff: what it takes for commands is escaped.
func roff(text string) string {
	lines := strings.Split(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// page writes the page of a command, from what its help is made of.
func page(w io.Writer, cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	inherited := cmd.InheritedFlags() // which completes what UseLine looks at
	name := Name(cmd)
	fmt.Fprintf(w, ".TH %q 8 \"\" \"davit\" \"davit\"\n", strings.ToUpper(name))
	fmt.Fprintf(w, ".SH NAME\n%s \\- %s\n", roff(name), roff(strings.TrimPrefix(cmd.Short, cmd.Name()+" ")))
	fmt.Fprintf(w, ".SH SYNOPSIS\n\\fB%s\\fR\n", roff(cmd.UseLine()))
	long := cmd.Long
	if long == "" {
		long = cmd.Short + "."
	}
	fmt.Fprint(w, ".SH DESCRIPTION\n")
	paragraphs(w, long)
	if subs := Commands(cmd)[1:]; len(subs) > 0 {
		fmt.Fprint(w, ".SH COMMANDS\n")
		for _, sub := range subs {
			if sub.Parent() == cmd {
				fmt.Fprintf(w, ".TP\n\\fB%s\\fR(8)\n%s\n", roff(Name(sub)), roff(sub.Short))
			}
		}
	}
	options(w, "OPTIONS", cmd.NonInheritedFlags())
	options(w, "GENERAL OPTIONS", inherited)
	if cmd.Example != "" {
		fmt.Fprintf(w, ".SH EXAMPLES\n.EX\n%s\n.EE\n", roff(strings.TrimRight(cmd.Example, "\n")))
	}
	if cmd.HasParent() {
		fmt.Fprintf(w, ".SH SEE ALSO\n\\fB%s\\fR(8)\n", roff(Name(cmd.Parent())))
	}
}

// paragraphs writes paragraphs; what is indented stays as it is.
func paragraphs(w io.Writer, text string) {
	for i, part := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		if i > 0 {
			fmt.Fprint(w, ".PP\n")
		}
		if strings.HasPrefix(part, " ") {
			fmt.Fprintf(w, ".EX\n%s\n.EE\n", roff(part))
			continue
		}
		fmt.Fprintln(w, roff(part))
	}
}

func options(w io.Writer, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(w, ".SH %s\n", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		head := `\fB` + roff("--"+f.Name) + `\fR`
		if f.Shorthand != "" {
			head = `\fB` + roff("-"+f.Shorthand) + `\fR, ` + head
		}
		if value != "" {
			head += ` \fI` + roff(value) + `\fR`
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, ".TP\n%s\n%s\n", head, roff(usage))
	})
}
