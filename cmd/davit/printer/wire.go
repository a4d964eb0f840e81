package printer

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/davit-agent/davit/agent/server/wire"
)

// Object prints a value as JSON or YAML that does nothing to a terminal. YAML
// cannot escape what is not printable just anywhere; an object that holds such
// text is printed as JSON, which is YAML too.
func Object(out io.Writer, obj any, asYAML bool) error {
	data, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, data, "", "    "); err != nil {
		return err
	}
	text := SafeJSON(indented.String()) + "\n"
	if asYAML {
		plain, err := yaml.JSONToYAML([]byte(text))
		if err != nil {
			return err
		}
		if s := string(plain); SafeText(s) == s {
			text = s
		}
	}
	_, err = io.WriteString(out, text)
	return err
}

// ProblemLine is a problem in the form FILE:LINE: OBJECT: FIELD: TEXT, the
// beginning of which editors understand.
func ProblemLine(p wire.Problem) string {
	at := p.File
	if p.Line > 0 {
		at += ":" + strconv.Itoa(p.Line)
	}
	parts := []string{at, p.Object, p.Field, p.Message}
	if strings.Contains(p.Message, p.Field) {
		parts[2] = ""
	}
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	return Safe(strings.Join(parts, ": "))
}
