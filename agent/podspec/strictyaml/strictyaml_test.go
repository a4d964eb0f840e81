package strictyaml

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func one(t *testing.T, text string) Document {
	t.Helper()
	docs := Parse([]byte(text))
	if len(docs) != 1 {
		t.Fatalf("%d documents in %q", len(docs), text)
	}
	return docs[0]
}

// TestScalars: what plain text stands for, by YAML 1.1 as Kubernetes reads it.
func TestScalars(t *testing.T) {
	for text, want := range map[string]string{
		"yes": "true", "Off": "false", "y": "true", "true": "true", "TRUE": "true", "'yes'": `"yes"`, "!!str yes": `"yes"`, "!!bool yes": "true",
		"~": "null", "null": "null", "\"\"": `""`, "0644": "420", "0x1F": "31", "1_000": "1000", "-3": "-3", "18446744073709551615": "18446744073709551615",
		"1.50": "1.5", "1e3": "1000", "1:30": `"1:30"`, "2024-01-02": `"2024-01-02"`, "!!str 12": `"12"`, "'12'": `"12"`, "|\n  a\n  b": `"a\nb\n"`, "1.2.3": `"1.2.3"`,
	} {
		doc := one(t, "k: "+text+"\n")
		if len(doc.Problems) > 0 {
			t.Errorf("%s: %v", text, doc.Problems)
		} else if got := string(doc.Root.Get("k").JSON()); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestMerge(t *testing.T) {
	for text, want := range map[string]string{
		"a: &a {x: 1, z: 2}\nb: {<<: *a, z: 3}":                        `{"a":{"x":1,"z":2},"b":{"x":1,"z":3}}`,
		"a: &a {x: 1}\nb: &b {x: 2, z: 4}\nc:\n  <<: [*a, *b]\n  w: 1": `{"a":{"x":1},"b":{"x":2,"z":4},"c":{"w":1,"x":1,"z":4}}`,
		"base: &k name\n*k : v":                                        `{"base":"name","name":"v"}`,
		"1: a\ntrue: b\n~: c":                                          `{"1":"a","null":"c","true":"b"}`,
	} {
		doc := one(t, text)
		if got := string(doc.Root.JSON()); len(doc.Problems) > 0 || got != want {
			t.Errorf("%s:\n%s, want %s; %v", text, got, want, doc.Problems)
		}
	}
	for text, want := range map[string]string{
		"a: {<<: 3}":        "<< takes a mapping or a list of mappings",
		"a: {<<: [[1]]}":    "<< takes a mapping or a list of mappings",
		"? [a, b]\n: c":     "a key must be a plain text, not a list or mapping",
		"a: !!binary aGk=":  "the tag !!binary is not supported: write the value without it",
		"a: {b: 1, 'b': 2}": "the key stands twice, first in line 1: remove one",
	} {
		doc := one(t, text)
		if len(doc.Problems) != 1 || doc.Problems[0].Message != want {
			t.Errorf("%s: %+v", text, doc.Problems)
		}
	}
}

func TestLineOf(t *testing.T) {
	for name, text := range map[string]string{
		"yaml": "a:\n  b:\n  - c: 1\n  -\n    c: 2\n  d/e.f:\n    g: 1\n",
		"json": "{\"a\": {\n  \"b\": [\n {\"c\": 1},\n\n {\"c\": 2}],\n  \"d/e.f\": {\n    \"g\": 1}}}",
	} {
		root := one(t, text).Root
		for path, want := range map[string]int{
			"": 1, "a": 1, "a.b": 2, "a.b[0]": 3, "a.b[0].c": 3, "a.b[1].c": 5, "a.b[7]": 2, "a[d/e.f]": 6, "a[d/e.f].g": 7, "a.x.y": 1, "x": 1, "a.b[0].c.d": 3,
		} {
			if got := root.LineOf(path); got != want {
				t.Errorf("%s: %s is in line %d, want %d", name, path, got, want)
			}
		}
	}
}

func TestDecodeKinds(t *testing.T) {
	type inner struct {
		Ratio float64 `json:"ratio"`
		Data  []byte  `json:"data"`
	}
	type outer struct {
		inner
		Addr    netip.Addr        `json:"addr"`
		Small   int8              `json:"small"`
		Whole   int               `json:"whole"`
		Pointer *bool             `json:"pointer"`
		Map     map[string]string `json:"map"`
		Hidden  string            `json:"-"`
		Func    func()            `json:"func"`
	}
	var got outer
	problems := one(t, "ratio: 1.5\ndata: aGk=\naddr: 192.0.2.1\nsmall: -128\nwhole: 1e3\npointer: false\nmap: {a: b}\n").Root.Decode(&got, "")
	if len(problems) > 0 || got.Ratio != 1.5 || string(got.Data) != "hi" || got.Addr != netip.MustParseAddr("192.0.2.1") ||
		got.Small != -128 || got.Whole != 1000 || got.Pointer == nil || *got.Pointer || got.Map["a"] != "b" {
		t.Errorf("%+v %v", got, problems)
	}
	var text []string
	for _, p := range one(t, "ratio: \"1\"\ndata: '!'\naddr: 1\nsmall: 200\nwhole: 1e30\npointer: \"true\"\nmap: {a: 1}\nHidden: x\nfunc: 1\n").Root.Decode(&got, "at") {
		text = append(text, fmt.Sprintf("%d %s: %s", p.Line, p.Path, p.Message))
	}
	want := []string{
		`1 at.ratio: want a number, got "1"; remove the quotes`,
		`2 at.data: want base64 text`,
		`3 at.addr: want a string, got a number (1)`,
		`4 at.small: 200 is too large`,
		`5 at.whole: want a whole number, got a number (1e30)`,
		`6 at.pointer: want true or false, got "true"; remove the quotes`,
		`7 at.map[a]: want a string, got a number (1); put it in quotes: "1"`,
		`8 at.Hidden: unknown field`,
		`9 at.func: a func() cannot be read from a file`,
	}
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"image", "imagePullPolicy", "name", "ports", "env", "envFrom", "hostIPC"}
	for word, want := range map[string]string{
		"imagee": "image", "imgae": "image", "Image": "image", "port": "ports", "nmae": "name", "imagePulPolicy": "imagePullPolicy",
		"evn": "env", "hostipc": "hostIPC", "x": "", "frobnicate": "", strings.Repeat("image", 100): "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

// TestManyDocuments: reading ends at a number of documents and of values, and
// that is told.
func TestManyDocuments(t *testing.T) {
	values := "[" + strings.Repeat("1,", MaxNodes-10) + "1]"
	for name, tc := range map[string]struct {
		text string
		docs int
	}{
		"YAML":            {strings.Repeat("---\na: b\n", maxDocs+10), maxDocs},
		"JSON":            {strings.Repeat("{\"a\":1}\n", maxDocs+10), maxDocs},
		"YAML values":     {strings.Repeat("---\n"+values+"\n", 5), 3},
		"JSON values":     {strings.Repeat("{\"a\":"+values+"}\n", 5), 3},
		"JSON at the end": {strings.Repeat("{\"a\":1}\n", maxDocs), maxDocs - 1},
	} {
		docs := Parse([]byte(tc.text))
		last := docs[len(docs)-1]
		if len(docs) != tc.docs+1 {
			t.Errorf("%s: %d documents", name, len(docs))
		}
		if told := len(last.Problems) == 1 && strings.HasSuffix(last.Problems[0].Message, "what follows is not read: split it"); told == strings.HasSuffix(name, "end") {
			t.Errorf("%s: %+v", name, last)
		}
	}
}

// TestDiscreet: each problem can be told without the text's values.
func TestDiscreet(t *testing.T) {
	var into struct {
		Text  string            `json:"text"`
		Flag  bool              `json:"flag"`
		Count int32             `json:"count"`
		Part  float64           `json:"part"`
		Addr  netip.Addr        `json:"addr"`
		List  []string          `json:"list"`
		Map   map[string]string `json:"map"`
		Data  []byte            `json:"data"`
	}
	doc := one(t, "text: 42424242\nflag: s42424242\ncount: 42424242424242\npart: s42424242\naddr: s42424242\nlist: s42424242\nmap: s42424242\ndata: s42424242!\n")
	problems := doc.Root.Decode(&into, "")
	if len(problems) != 8 {
		t.Errorf("%d problems", len(problems))
	}
	for _, p := range problems {
		if strings.Contains(p.Discreet(), "4242") || p.Discreet() == "" {
			t.Errorf("%s: %s", p.Path, p.Discreet())
		}
	}
	for _, text := range []string{"a: *s4242", "a: !s4242 x", "a: .inf", "{\"a\": s4242", "{\"a\":\"x\"4242}"} {
		for _, doc := range Parse([]byte(text)) {
			for _, p := range doc.Problems {
				if strings.ContainsAny(p.Discreet(), "42") {
					t.Errorf("%s: %s", text, p.Discreet())
				}
			}
		}
	}
}
