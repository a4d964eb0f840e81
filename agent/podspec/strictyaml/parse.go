package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Reason tells problems apart.
type Reason int

// What may be wrong.
const (
	Syntax    Reason = iota // it does not parse, or is over a limit
	Unknown                 // a key that the type does not have
	Duplicate               // a key that stands twice
	Mismatch                // a value of the wrong type
)

// Problem is one thing that is wrong with a text.
type Problem struct {
	Reason  Reason
	Line    int    // 1-based; 0 if not known
	Path    string // of the field, such as spec.containers[0].image; "" if not known
	Nearest string // of Unknown: the key that was probably meant, or ""
	Message string // what is wrong and what to do; does not repeat Path
	// Bare is Message without any value that stands in the text, for a text that
	// holds secrets. "": there is none in Message.
	Bare string
}

// Discreet returns the message that tells no value of the text.
func (p Problem) Discreet() string {
	if p.Bare != "" {
		return p.Bare
	}
	return p.Message
}

// Document is one document of a text. Root is nil when it did not parse.
type Document struct {
	Line     int // of its first line that is neither empty nor a comment
	Root     *Node
	Problems []Problem
}

// Parse reads all documents of a text. Documents without content (empty, or
// only comments) are left out.
func Parse(data []byte) []Document {
	if len(data) > MaxSize {
		return []Document{{Line: 1, Problems: []Problem{{Line: 1,
			Message: fmt.Sprintf("the file has %d bytes, at most %d are read: split it", len(data), MaxSize)}}}}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		docs, problem := parseJSON(data)
		if problem == nil {
			return docs
		}
		// Flow style YAML looks like JSON at first sight.
		if docs = parseYAML(data); clean(docs) {
			return docs
		}
		return []Document{{Line: problem.Line, Problems: []Problem{*problem}}}
	}
	return parseYAML(data)
}

func clean(docs []Document) bool {
	for _, d := range docs {
		if d.Root == nil {
			return false
		}
	}
	return true
}

type chunk struct {
	text []byte
	line int // of its first line
}

// cut divides a text at its document markers. A line that begins with --- is a
// marker wherever it stands, also inside of a block scalar.
func cut(data []byte) []chunk {
	var out []chunk
	start, startLine, line := 0, 1, 1
	for pos := 0; pos < len(data); line++ {
		end := len(data)
		if i := bytes.IndexByte(data[pos:], '\n'); i >= 0 {
			end = pos + i + 1
		}
		if row := data[pos:end]; bytes.HasPrefix(row, []byte("---")) && (len(row) == 3 || bytes.IndexByte([]byte(" \t\r\n"), row[3]) >= 0) {
			out = append(out, chunk{data[start:pos], startLine})
			start, startLine = pos, line
		}
		pos = end
	}
	return append(out, chunk{data[start:], startLine})
}

// content returns the number of lines before the first that has content, and
// whether there is one.
func (c chunk) content() (int, bool) {
	i := 0
	for line := range bytes.Lines(c.text) {
		row := bytes.TrimSpace(line)
		if i == 0 {
			row = bytes.TrimSpace(bytes.TrimPrefix(row, []byte("---")))
		}
		if len(row) > 0 && string(row) != "..." && row[0] != '#' && row[0] != '%' {
			return i, true
		}
		i++
	}
	return 0, false
}

// marks returns at least the number of values that the text may have, but for
// few.
func (c chunk) marks() int {
	n := 0
	for _, mark := range []string{"\n", ",", "[", "{", ":", "- "} {
		n += bytes.Count(c.text, []byte(mark))
	}
	return n
}

func parseYAML(data []byte) []Document {
	var docs []Document
	left := 2 * MaxNodes
	for _, c := range cut(data) {
		skip, ok := c.content()
		if !ok {
			continue
		}
		doc := Document{Line: c.line + skip}
		if left < 0 || len(docs) == maxDocs {
			doc.Problems = []Problem{{Line: doc.Line, Message: fmt.Sprintf(
				"the file has more than %d values or %d documents, what follows is not read: split it", 2*MaxNodes, maxDocs)}}
			return append(docs, doc)
		}
		if c.marks() > maxMarks {
			doc.Problems = []Problem{{Line: doc.Line, Message: fmt.Sprintf("the document may have more than %d values: split it", MaxNodes)}}
			docs = append(docs, doc)
			continue
		}
		var root yaml.Node
		if err := yaml.Unmarshal(c.text, &root); err != nil {
			doc.Problems = append(doc.Problems, syntaxProblem(err, c))
		} else if len(root.Content) > 0 {
			t := &converter{offset: c.line - 1, left: MaxNodes, room: MaxText}
			doc.Root = t.node(root.Content[0], "", 0)
			doc.Problems = t.problems
			left -= MaxNodes - t.left
			if t.fatal {
				doc.Root = nil
			}
		}
		docs = append(docs, doc)
	}
	return docs
}

var yamlErrorLine = regexp.MustCompile(`^line (\d+): `)

func syntaxProblem(err error, c chunk) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := c.line
	if m := yamlErrorLine.FindStringSubmatch(text); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = c.line + n - 1
		}
		text = text[len(m[0]):]
		// The library counts from 0 where its parser complains, from 1 where
		// its scanner does.
		if strings.HasPrefix(text, "did not find expected") {
			line++
		}
	}
	// The end of the text counts as a line of its own there.
	line = min(line, c.line+bytes.Count(bytes.TrimSpace(c.text), []byte("\n")))
	p := Problem{Line: line, Message: "this is not valid YAML: " + text}
	if strings.Contains(text, "anchor '") {
		p.Bare = "this is not valid YAML: an alias (*name) stands for nothing: put text that begins with * into quotes"
	}
	return p
}

// converter makes Nodes of yaml.Nodes.
type converter struct {
	offset   int // added to line numbers
	left     int // nodes that may still be made
	room     int // bytes of text that they may still have
	fatal    bool
	problems []Problem
}

func (t *converter) fail(p Problem) *Node {
	if p.Reason == Syntax {
		t.fatal = true
	}
	t.problems = append(t.problems, p)
	return &Node{Line: p.Line}
}

func (t *converter) node(y *yaml.Node, path string, depth int) *Node {
	line := y.Line + t.offset
	if t.fatal {
		return &Node{Line: line}
	}
	if t.left--; t.left < 0 {
		return t.fail(Problem{Line: line, Message: fmt.Sprintf("the document has more than %d values once its aliases (*name) are expanded: write it without aliases, or split it", MaxNodes)})
	}
	if t.room -= len(y.Value); t.room < 0 {
		return t.fail(Problem{Line: line, Message: fmt.Sprintf("the document has more than %d bytes once its aliases (*name) are expanded: write it without aliases, or split it", MaxText)})
	}
	if depth > MaxDepth {
		return t.fail(Problem{Line: line, Message: fmt.Sprintf("the document is nested more than %d levels deep", MaxDepth)})
	}
	switch y.Kind {
	case yaml.AliasNode:
		n := t.node(y.Alias, path, depth+1)
		n.Line = line
		return n
	case yaml.SequenceNode:
		n := &Node{Kind: List, Line: line}
		for i, item := range y.Content {
			n.Items = append(n.Items, t.node(item, path+"["+strconv.Itoa(i)+"]", depth+1))
		}
		return n
	case yaml.MappingNode:
		n := &Node{Kind: Map, Line: line}
		t.mapping(n, y, path, depth)
		return n
	case yaml.ScalarNode:
		return t.scalar(y, path, line)
	}
	return &Node{Line: line}
}

// mapping fills n from y. Merge keys (<<) give what the mapping itself lacks.
func (t *converter) mapping(n *Node, y *yaml.Node, path string, depth int) {
	seen := make(map[string]int, len(y.Content)/2)
	var merged []*Node
	for i := 0; i+1 < len(y.Content) && !t.fatal; i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		line := k.Line + t.offset
		if k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge" {
			merged = append(merged, t.node(v, path, depth+1))
			continue
		}
		for k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			t.fail(Problem{Line: line, Path: path, Message: "a key must be a plain text, not a list or mapping"})
			return
		}
		key := t.scalar(k, path, line)
		t.room -= len(k.Value)
		name := key.Text
		if key.Kind == Null {
			name = "null"
		}
		at := join(path, name)
		if first, dup := seen[name]; dup {
			t.fail(Problem{Reason: Duplicate, Line: line, Path: at, Message: fmt.Sprintf("the key stands twice, first in line %d: remove one", first)})
			continue
		}
		seen[name] = line
		n.Keys = append(n.Keys, name)
		n.lines = append(n.lines, line)
		n.Items = append(n.Items, t.node(v, at, depth+1))
	}
	for _, m := range merged {
		t.merge(n, m, seen, path)
	}
}

func (t *converter) merge(n, from *Node, seen map[string]int, path string) {
	switch from.Kind {
	case List:
		for _, m := range from.Items {
			if m.Kind != Map {
				t.fail(Problem{Line: from.Line, Path: path, Message: "<< takes a mapping or a list of mappings"})
				return
			}
			t.merge(n, m, seen, path)
		}
	case Map:
		for i, key := range from.Keys {
			if _, has := seen[key]; has {
				continue
			}
			seen[key] = from.Line
			n.Keys = append(n.Keys, key)
			n.lines = append(n.lines, from.lines[i])
			n.Items = append(n.Items, from.Items[i])
		}
	default:
		if !t.fatal {
			t.fail(Problem{Line: from.Line, Path: path, Message: "<< takes a mapping or a list of mappings"})
		}
	}
}

// words are the booleans of YAML 1.1 that YAML 1.2 lacks.
var words = map[string]string{
	"y": "true", "Y": "true", "yes": "true", "Yes": "true", "YES": "true", "on": "true", "On": "true", "ON": "true",
	"n": "false", "N": "false", "no": "false", "No": "false", "NO": "false", "off": "false", "Off": "false", "OFF": "false",
}

func (t *converter) scalar(y *yaml.Node, path string, line int) *Node {
	n := &Node{Kind: String, Line: line, Text: y.Value, Raw: y.Value}
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	if y.Style&yaml.TaggedStyle == 0 {
		if y.Style&quoted != 0 {
			return n
		}
		if text, ok := words[y.Value]; ok {
			n.Kind, n.Text = Bool, text
			return n
		}
	}
	switch tag := y.ShortTag(); tag {
	case "!!str", "!!timestamp", "!!merge":
	case "!!null":
		n.Kind, n.Text = Null, ""
	case "!!bool":
		n.Kind, n.Text = Bool, strings.ToLower(y.Value)
		if text, ok := words[y.Value]; ok {
			n.Text = text
		}
	case "!!int", "!!float":
		text, err := number(y)
		if err != nil {
			return t.fail(Problem{Line: line, Path: path, Message: fmt.Sprintf("%q: %v", y.Value, err), Bare: err.Error()})
		}
		n.Kind, n.Text = Number, text
	default:
		return t.fail(Problem{Line: line, Path: path, Message: fmt.Sprintf("the tag %s is not supported: write the value without it", tag),
			Bare: "a tag (!name) is not supported: put text that begins with ! into quotes"})
	}
	return n
}

// number returns the JSON literal of a YAML number.
func number(y *yaml.Node) (string, error) {
	var v any
	if err := y.Decode(&v); err != nil {
		return "", errors.New("not a number")
	}
	switch v := v.(type) {
	case int:
		return strconv.FormatInt(int64(v), 10), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case uint64:
		return strconv.FormatUint(v, 10), nil
	case float64:
		if v != v || v-v != 0 {
			return "", errors.New("not a finite number")
		}
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	}
	return "", errors.New("not a number")
}

// join appends a key to a path.
func join(path, key string) string {
	if strings.ContainsAny(key, ".[]/") || key == "" {
		return path + "[" + key + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
