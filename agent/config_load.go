package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/davit-agent/davit/agent/podspec/strictyaml"
)

// laterKeys are keys that are known and need what is not there yet. They may be
// in a file with the value that asks for nothing ("", 0, false, empty).
var laterKeys = []string{
	"images.gcHighPercent", "images.gcLowPercent",
	"source.kubeconfig", "source.bootstrapKubeconfig",
	"network.hostPorts",
	"proxy.enabled", "proxy.nodePortAddresses", "proxy.serviceCIDRs",
	"server.address", "server.port", "server.clientCA", "server.tlsCert", "server.tlsKey",
}

// LoadConfig returns the defaults, overlaid with the file at path ("": none) and
// with the flags that were set (nil: none). Complete and Validate come next.
func LoadConfig(path string, flags *ConfigFlags) (*Config, error) {
	c := DefaultConfig()
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading the configuration: %w", err)
		}
		if err := c.Parse(data, path); err != nil {
			return nil, err
		}
	}
	if flags != nil {
		flags.Apply(c)
	}
	return c, nil
}

// Parse overlays the configuration with what is written in a YAML text; file is
// for messages. The error has a line for each problem, such as
//
//	config.yaml:7: unknown key containerd.adress, did you mean address?
func (c *Config) Parse(data []byte, file string) error {
	file = filepath.Base(file)
	var errs []error
	fail := func(line int, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s:%d: %s", file, line, fmt.Sprintf(format, args...)))
	}
	docs := strictyaml.Parse(data)
	if len(docs) > 1 {
		fail(docs[1].Line, "a configuration is one document, this is a second: remove it")
	}
	for _, doc := range docs {
		problems := doc.Problems
		if doc.Root != nil {
			problems = append(problems, doc.Root.Decode(c, "")...)
		}
		for _, p := range problems {
			switch p.Reason {
			case strictyaml.Unknown:
				unknownKey(doc.Root, p, fail)
			case strictyaml.Duplicate:
				fail(p.Line, "duplicate key %s: %s", p.Path, p.Message)
			default:
				if p.Path != "" {
					p.Message = p.Path + ": " + p.Message
				}
				fail(p.Line, "%s", p.Message)
			}
		}
	}
	return errors.Join(errs...)
}

// unknownKey reports a key that Config does not have: a typo, or one that comes
// later.
func unknownKey(root *strictyaml.Node, p strictyaml.Problem, fail func(int, string, ...any)) {
	n := root
	for key := range strings.SplitSeq(p.Path, ".") {
		n = n.Get(key)
	}
	parent, last := "", p.Path
	if i := strings.LastIndex(p.Path, "."); i >= 0 {
		parent, last = p.Path[:i+1], p.Path[i+1:]
	}
	siblings := laterBelow(parent)
	switch {
	case slices.Contains(laterKeys, p.Path):
		if !empty(n) {
			fail(p.Line, "not supported yet: %s", p.Path)
		}
	case slices.Contains(siblings, last): // a section
		if n == nil || n.Kind != strictyaml.Map {
			if !empty(n) {
				fail(p.Line, "%s: want a mapping (key: value)", p.Path)
			}
			return
		}
		for _, key := range n.Keys {
			unknownKey(root, strictyaml.Problem{
				Path: p.Path + "." + key, Line: root.LineOf(p.Path + "." + key), Nearest: strictyaml.Nearest(key, laterBelow(p.Path+".")),
			}, fail)
		}
	default:
		nearest := p.Nearest
		if nearest == "" {
			nearest = strictyaml.Nearest(last, siblings)
		}
		if nearest == "" {
			fail(p.Line, "unknown key %s: remove it; \"davit config print\" shows all keys", p.Path)
			return
		}
		fail(p.Line, "unknown key %s, did you mean %s?", p.Path, nearest)
	}
}

// laterBelow returns the keys and sections of laterKeys right below a prefix.
func laterBelow(prefix string) []string {
	var out []string
	for _, key := range laterKeys {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			first, _, _ := strings.Cut(rest, ".")
			if !slices.Contains(out, first) {
				out = append(out, first)
			}
		}
	}
	return out
}

// empty tells whether a value asks for nothing.
func empty(n *strictyaml.Node) bool {
	if n == nil {
		return true
	}
	switch n.Kind {
	case strictyaml.List, strictyaml.Map:
		return len(n.Items) == 0
	case strictyaml.Bool:
		return n.Text == "false"
	case strictyaml.Number:
		return n.Text == "0"
	}
	return n.Text == ""
}
