package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/davit-agent/davit/cmd/davit/manpage"
)

// Help, man pages and completion are made of what each command says of itself.
func TestCommandsAreDocumented(t *testing.T) {
	root, _ := newRoot()
	noExample := map[string]bool{"davit config": true, "davit version": true, "davit images": true}
	for _, cmd := range append(manpage.Commands(root), newMan()) {
		name := cmd.CommandPath()
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") || strings.Contains(cmd.Short, "\n") {
			t.Errorf("%s: Short is %q: one line without a full stop", name, cmd.Short)
		}
		if cmd.Example == "" && !noExample[name] {
			t.Errorf("%s has no Example", name)
		}
		for line := range strings.Lines(cmd.Example) {
			if !strings.HasPrefix(line, "  ") || !strings.Contains(line, "davit ") {
				t.Errorf("%s: example %q is not indented or names no davit", name, line)
			}
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s: --%s says nothing", name, f.Name)
			}
		})
	}
}

// Every example is a command line that parses.
func TestExamplesParse(t *testing.T) {
	root, _ := newRoot()
	for _, cmd := range manpage.Commands(root) {
		for line := range strings.Lines(cmd.Example) {
			_, args, _ := strings.Cut(line, "davit ")
			args, _, _ = strings.Cut(args, " > ")
			words := strings.Fields(strings.Trim(strings.TrimSpace(args), "()"))
			sub, _, err := root.Find(words)
			if err != nil || sub.CommandPath() != cmd.CommandPath() && cmd != root {
				t.Errorf("%q is of %s, not of %s: %v", line, sub.CommandPath(), cmd.CommandPath(), err)
				continue
			}
			fresh, _ := newRoot() // flags keep what they were given
			sub, rest, err := fresh.Find(words)
			if err == nil {
				err = sub.ParseFlags(rest)
			}
			if err != nil {
				t.Errorf("%q: %v", line, err)
			}
		}
	}
}

func TestManPages(t *testing.T) {
	dir := t.TempDir()
	root, _ := newRoot()
	if err := manpage.Write(root, dir); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range manpage.Commands(root) {
		data, err := os.ReadFile(filepath.Join(dir, manpage.Name(cmd)+".8"))
		if err != nil {
			t.Fatal(err)
		}
		page := strings.NewReplacer(`\-`, "-", `\e`, `\`, `\fB`, "", `\fI`, "", `\fR`, "", `\&`, "").Replace(string(data))
		for _, part := range []string{cmd.Short, cmd.UseLine(), strings.TrimSpace(cmd.Long), strings.TrimSpace(cmd.Example)} {
			for line := range strings.Lines(part) {
				if !strings.Contains(page, strings.TrimRight(line, "\n")) {
					t.Errorf("%s.8 lacks %q", manpage.Name(cmd), line)
				}
			}
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && f.Name != "help" && !strings.Contains(page, "--"+f.Name) {
				t.Errorf("%s.8 lacks --%s", manpage.Name(cmd), f.Name)
			}
		})
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(manpage.Commands(root)) {
		t.Errorf("%d pages for %d commands: %v", len(entries), len(manpage.Commands(root)), err)
	}
}

func TestCompletionScripts(t *testing.T) {
	n := serveNode(t)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		out, errs, code := davit(t, n.socket, "", "completion", shell)
		if code != 0 || !strings.Contains(out, "__complete") || errs != "" {
			t.Errorf("%s: %d, %q", shell, code, errs)
		}
	}
	n.says(t, says{args: "completion tcsh", code: 2, errs: `unknown shell "tcsh"`})
	script := filepath.Join(t.TempDir(), "davit.bash")
	out, _, _ := davit(t, n.socket, "", "completion", "bash")
	if err := os.WriteFile(script, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
	// In a real bash, with davit on its PATH.
	bin := t.TempDir()
	if err := os.Symlink(self(t), filepath.Join(bin, "davit")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "--norc", "-c", `source `+script+`
_get_comp_words_by_ref() { words=(davit explain pod w); cword=3; cur=w; prev=pod; }
__ltrim_colon_completions() { :; }
COMP_WORDS=(davit explain pod w); COMP_CWORD=3; COMP_LINE="davit explain pod w"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
__start_davit; echo "${COMPREPLY[@]}"`)
	cmd.Env = append(os.Environ(), "DAVIT_TEST_MAIN=1", "DAVIT_SOCKET="+n.socket, "PATH="+bin+":"+os.Getenv("PATH"))
	got, err := cmd.Output() // compopt complains that nobody has pressed a key
	if err != nil || strings.TrimSpace(string(got)) != "web-n1" {
		t.Errorf("bash completes %q, %v", got, err)
	}
}

func TestCompletions(t *testing.T) {
	n := serveNode(t)
	for args, want := range map[string]string{
		"get |":               "pods\tpods with their state",
		"get pods |":          "web-n1",
		"get pod/|":           "pod/web-n1",
		"get svc |":           "front",
		"get pods -n other |": "db-n1",
		"get -n |":            "default other",
		"get -o |":            "wide json yaml name",
		"explain |":           "pod",
		"explain pod |":       "web-n1",
		"explain pod x -o |":  "json yaml",
		"delete |":            "pod service configmap secret",
		"delete configmap |":  "conf",
		"logs |":              "web-n1",
		"logs web |":          "main\tcontainer",
		"logs web -c |":       "main\tcontainer",
		"completion |":        "bash zsh fish",
		"run --log-format |":  "text json",
	} {
		words := strings.Split(args, " ")
		words[len(words)-1] = strings.TrimSuffix(words[len(words)-1], "|")
		out, _, _ := davit(t, n.socket, "", append([]string{"__complete"}, words...)...)
		list, _, _ := strings.Cut(out, ":")
		if got := strings.Join(strings.Split(strings.TrimSpace(list), "\n"), " "); !strings.HasPrefix(got, want) {
			t.Errorf("%s completes %q, want %q", args, got, want)
		}
	}
}
