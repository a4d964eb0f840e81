package oci_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/oci"
)

func TestExpand(t *testing.T) {
	vars := map[string]string{"A": "a", "B": "$(A)", "EMPTY": "", "a.b-c": "dots", "": "nameless"}
	lookup := func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok && name != ""
	}
	for in, want := range map[string]string{
		"":               "",
		"plain":          "plain",
		"$(A)":           "a",
		"x$(A)y$(A)z":    "xayaz",
		"$(B)":           "$(A)", // one pass only
		"$(EMPTY)":       "",
		"$(NONE)":        "$(NONE)",
		"$()":            "$()",
		"$$(A)":          "$(A)",
		"$$$(A)":         "$a",
		"$$$$(A)":        "$$(A)",
		"$$":             "$",
		"$":              "$",
		"a$":             "a$",
		"$A":             "$A",
		"$(A":            "$(A",
		"$(A$(A)":        "$(A$(A)", // the name is "A$(A"
		"$(A))":          "a)",
		"$((A))":         "$((A))",
		"$(a.b-c)":       "dots",
		"\u00e4$\u00e4":  "\u00e4$\u00e4",
		"$(A)\u00e4$(A)": "a\u00e4a",
		"${A}":           "${A}",
	} {
		if got := oci.Expand(in, lookup); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestArgs(t *testing.T) {
	img := func(entry, cmd []string) *runtime.Image {
		i := &runtime.Image{}
		i.Config.Entrypoint, i.Config.Cmd = entry, cmd
		return i
	}
	both := img([]string{"entry", "$(X)"}, []string{"cmd"})
	for name, c := range map[string]struct {
		command, args []string
		image         *runtime.Image
		want          []string
	}{
		"image only, not expanded": {nil, nil, both, []string{"entry", "$(X)", "cmd"}},
		"args replace cmd":         {nil, []string{"$(X)"}, both, []string{"entry", "$(X)", "x"}},
		"command drops both":       {[]string{"run"}, nil, both, []string{"run"}},
		"command and args":         {[]string{"run"}, []string{"a"}, both, []string{"run", "a"}},
		"cmd only":                 {nil, nil, img(nil, []string{"cmd"}), []string{"cmd"}},
		"entrypoint only":          {nil, nil, img([]string{"entry"}, nil), []string{"entry"}},
		"empty entrypoint":         {nil, nil, img([]string{""}, []string{"cmd"}), []string{"cmd"}},
		"no image":                 {[]string{"run"}, nil, nil, []string{"run"}},
		"nothing":                  {nil, nil, nil, nil},
	} {
		got := oci.Args(&v1.Container{Command: c.command, Args: c.args}, c.image, []oci.Var{{Name: "X", Value: "x"}})
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
