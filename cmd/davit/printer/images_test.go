package printer

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 999: "999B", 1000: "1.0kB", 12_345_678: "12.3MB", 2_000_000_000: "2.0GB", 3e12: "3000.0GB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestShortID(t *testing.T) {
	for id, want := range map[string]string{"sha256:0123456789abcdef": "0123456789ab", "sha256:12": "12", "0123456789abcdef": "0123456789ab", "": ""} {
		if got := ShortID(id); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
}

func TestProgressLine(t *testing.T) {
	for _, c := range []struct {
		p     Progress
		width int
		want  string
	}{
		{Progress{Label: "Pulling x", Note: "asking the registry"}, 80, "Pulling x  asking the registry"},
		{Progress{Label: "Pulling x", Note: "3/5 layers", Done: 12_400_000, Total: 80_100_000}, 70,
			"Pulling x  [====>                          ]  3/5 layers  12.4/80.1 MB"},
		{Progress{Label: "Pulling x", Note: "n", Done: 0, Total: 10}, 40, "Pulling x  [>               ]  n  0/10 B"},
		{Progress{Label: "Pulling x", Note: "n", Done: 10, Total: 10}, 40, "Pulling x  [===============]  n  10/10 B"},
		{Progress{Label: "Pulling x", Note: "n", Done: 99, Total: 10}, 40, "Pulling x  [===============]  n  99/10 B"},
		{Progress{Label: "Pulling registry.example/a/long/name:1", Note: "n", Done: 5, Total: 10}, 40, "Pulling regi...  [=====>    ]  n  5/10 B"},
		{Progress{Label: "Pulling \x1b[2Jx", Note: "n"}, 80, `Pulling \x1b[2Jx  n`},
		{Progress{Label: "Pulling x", Note: "n"}, 8, "Pulli..."},
		{Progress{Label: "x"}, 0, ""},
	} {
		if got := c.p.Line(c.width); got != c.want {
			t.Errorf("%+v in %d:\n%q, want\n%q", c.p, c.width, got, c.want)
		}
	}
}

// A line never breaks, whatever is in it.
func TestProgressFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Progress{Label: rapid.String().Draw(t, "label"), Note: rapid.String().Draw(t, "note"),
			Done: rapid.Int64().Draw(t, "done"), Total: rapid.Int64Min(0).Draw(t, "total")}
		width := rapid.IntRange(-1, 200).Draw(t, "width")
		line := p.Line(width)
		if utf8.RuneCountInString(line) > max(0, width) || strings.ContainsAny(line, "\n\r\x1b\t") {
			t.Errorf("%q in %d", line, width)
		}
	})
}
