package podspec

import (
	"fmt"
	"strings"

	"github.com/davit-agent/davit/agent/podspec/support"
)

const head = `# The fields of a Pod

<!-- Written by "go generate ./test/podspec" from agent/podspec/support; do not edit. -->

What davit does with every field of a Pod, from Kubernetes' Go types.

- **supported**: it does what Kubernetes says; a note tells of limits. A test sets
  each, blanks it and sees a difference (test/podspec; some are shown elsewhere).
- **ignored by design**: taken and without effect, for it addresses somebody else.
- **not yet**: refused by name, and meant to come.
- **refused**: refused by name.
- **invalid**: Kubernetes itself refuses the field at this place.

A pod with a field that is refused is not run, and the message names the field
and the reason. A line stands for all that is below its field.

`

// sections are the tables of the page. A field belongs to the one with the
// longest prefix that it has.
var sections = []struct{ prefix, title, text string }{
	{"spec", "The pod", ""},
	{"spec.containers", "Containers", ""},
	{"spec.initContainers", "Init containers", "Everything else is as for `spec.containers[]`."},
	{"spec.ephemeralContainers", "Ephemeral containers",
		"In a manifest they are a way to debug a pod without an API server. Everything else is as for `spec.containers[]`."},
	{"spec.volumes", "Volumes", ""},
	{"", "Around the spec", ""},
}

// Page returns docs/podspec.md.
func Page() string {
	var b strings.Builder
	b.WriteString(head)
	fields := Fields()
	counts := map[support.Support]int{}
	for _, f := range fields {
		counts[f.Row.Support]++
	}
	fmt.Fprintf(&b, "%d fields are supported, %d ignored by design, %d not there yet, %d refused, %d invalid.\n",
		counts[support.Supported], counts[support.Ignored], counts[support.NotYet], counts[support.Refused], counts[support.Invalid])
	for _, s := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n", s.title)
		if s.text != "" {
			b.WriteString(s.text + "\n\n")
		}
		b.WriteString("| field | davit | |\n|---|---|---|\n")
		for _, f := range fields {
			if section(f.Path) == s.prefix {
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Path, short(f.Row.Support), note(f.Row))
			}
		}
	}
	return b.String()
}

// section returns the prefix of a field's section.
func section(path string) string {
	longest := ""
	for _, s := range sections {
		if strings.HasPrefix(path, s.prefix) && len(s.prefix) > len(longest) {
			longest = s.prefix
		}
	}
	return longest
}

func short(s support.Support) string {
	first, _, _ := strings.Cut(string(s), ",")
	return first
}

// note is what limits a field, or why it is not supported.
func note(r *support.Row) string {
	var parts []string
	if len(r.Values) > 0 {
		parts = append(parts, "only "+strings.Join(r.Values, ", "))
	}
	if r.If != "" {
		parts = append(parts, "only if "+string(r.If))
	}
	if r.Note != "" {
		parts = append(parts, r.Note)
	}
	return strings.Join(parts, "; ")
}
