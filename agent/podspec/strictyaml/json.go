package strictyaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// parseJSON reads a stream of JSON values. It returns a problem when the text
// is not JSON; what is wrong with text that is JSON is in the documents.
func parseJSON(data []byte) ([]Document, *Problem) {
	p := &jsonParser{data: data, dec: json.NewDecoder(bytes.NewReader(data)), line: 1}
	total := 2 * MaxNodes
	p.dec.UseNumber()
	var docs []Document
	for {
		p.left, p.problems, p.over = MaxNodes, nil, false
		tok, err := p.dec.Token()
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, p.syntax(err)
		}
		doc := Document{Line: p.here()}
		doc.Root, err = p.value(tok, "", 0)
		if err != nil && !errors.Is(err, errOver) {
			return nil, p.syntax(err)
		}
		doc.Problems = p.problems
		if p.over {
			doc.Root = nil
		}
		docs = append(docs, doc)
		if total -= MaxNodes - p.left; err != nil || total < 0 || len(docs) == maxDocs {
			return append(docs, p.rest(err)...), nil
		}
	}
}

// errOver ends the reading of a text that has too many values.
var errOver = errors.New("too many values")

// rest is the problem of a text of which the rest is not read; none if err says
// so already, or there is no more.
func (p *jsonParser) rest(err error) []Document {
	if err != nil || !p.dec.More() {
		return nil
	}
	line := p.lineAt(p.dec.InputOffset())
	return []Document{{Line: line, Problems: []Problem{{Line: line, Message: fmt.Sprintf(
		"the file has more than %d values or %d documents, what follows is not read: split it", 2*MaxNodes, maxDocs)}}}}
}

type jsonParser struct {
	data     []byte
	dec      *json.Decoder
	line     int // at offset at
	at       int64
	left     int
	over     bool // a limit was passed
	problems []Problem
}

// here returns the line of the token that was read last.
func (p *jsonParser) here() int { return p.lineAt(p.dec.InputOffset() - 1) }

func (p *jsonParser) lineAt(offset int64) int {
	if offset > p.at {
		p.line += bytes.Count(p.data[p.at:offset], []byte("\n"))
		p.at = offset
	}
	return p.line
}

func (p *jsonParser) syntax(err error) *Problem {
	offset := p.dec.InputOffset()
	var bad *json.SyntaxError
	if errors.As(err, &bad) && bad.Offset > offset && bad.Offset <= int64(len(p.data)) {
		offset = bad.Offset - 1
	}
	text := err.Error()
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		text = "it ends in the middle"
	}
	out := &Problem{Line: p.lineAt(offset), Message: "this is not valid JSON: " + text}
	if bad != nil && text == err.Error() {
		out.Bare = "this is not valid JSON" // the text of err has the character
	}
	return out
}

func (p *jsonParser) value(tok json.Token, path string, depth int) (*Node, error) {
	n := &Node{Line: p.here()}
	if p.left--; p.left < 0 {
		p.over = true
		p.problems = append(p.problems, Problem{Line: n.Line, Message: fmt.Sprintf("the document has more than %d values: split it; what follows is not read", MaxNodes)})
		return n, errOver
	}
	if depth > MaxDepth {
		if !p.over {
			p.over = true
			p.problems = append(p.problems, Problem{Line: n.Line, Message: fmt.Sprintf("the document is nested more than %d levels deep", MaxDepth)})
		}
		return n, p.skip(tok)
	}
	switch v := tok.(type) {
	case nil:
	case bool:
		n.Kind, n.Text = Bool, strconv.FormatBool(v)
		n.Raw = n.Text
	case json.Number:
		n.Kind, n.Text, n.Raw = Number, v.String(), v.String()
	case string:
		n.Kind, n.Text, n.Raw = String, v, v
	case json.Delim:
		if v == '{' {
			n.Kind = Map
			return n, p.object(n, path, depth)
		}
		n.Kind = List
		return n, p.array(n, path, depth)
	}
	return n, nil
}

func (p *jsonParser) object(n *Node, path string, depth int) error {
	seen := map[string]int{}
	for p.dec.More() {
		tok, err := p.dec.Token()
		if err != nil {
			return err
		}
		key, _ := tok.(string) // the decoder refuses other keys
		line, at := p.here(), join(path, key)
		if tok, err = p.dec.Token(); err != nil {
			return err
		}
		v, err := p.value(tok, at, depth+1)
		if err != nil {
			return err
		}
		if first, dup := seen[key]; dup {
			p.problems = append(p.problems, Problem{Reason: Duplicate, Line: line, Path: at, Message: fmt.Sprintf("the key stands twice, first in line %d: remove one", first)})
			continue
		}
		seen[key] = line
		n.Keys, n.lines, n.Items = append(n.Keys, key), append(n.lines, line), append(n.Items, v)
	}
	_, err := p.dec.Token()
	return err
}

func (p *jsonParser) array(n *Node, path string, depth int) error {
	for i := 0; p.dec.More(); i++ {
		tok, err := p.dec.Token()
		if err != nil {
			return err
		}
		v, err := p.value(tok, path+"["+strconv.Itoa(i)+"]", depth+1)
		if err != nil {
			return err
		}
		n.Items = append(n.Items, v)
	}
	_, err := p.dec.Token()
	return err
}

// skip reads to the end of the value that begins with tok.
func (p *jsonParser) skip(tok json.Token) error {
	open := 0
	for {
		if d, ok := tok.(json.Delim); ok {
			if d == '{' || d == '[' {
				open++
			} else {
				open--
			}
		}
		if open == 0 {
			return nil
		}
		var err error
		if tok, err = p.dec.Token(); err != nil {
			return err
		}
	}
}
