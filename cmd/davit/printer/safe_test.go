package printer

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
)

// nasty is what somebody might put into a termination message.
const nasty = "a\x1b[2Jb\u009b31mc\x07d\u202ee\x7ff\xffg\u2028h\nü日本\U000e0041"

func TestSafe(t *testing.T) {
	if got, want := Safe(nasty), `a\x1b[2Jb\u009b31mc\ad\u202ee\x7ff\xffg\u2028h\nü日本\U000e0041`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := SafeText("a\tb\nc\x1b"); got != "a\tb\nc\\x1b" {
		t.Errorf("%q", got)
	}
	if got := Safe("plain text, 日本"); got != "plain text, 日本" {
		t.Errorf("%q", got)
	}
}

func TestSafeJSON(t *testing.T) {
	valid := strings.ToValidUTF8(nasty, "?")
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", "\t")
	if err := enc.Encode(map[string]string{"m": valid}); err != nil {
		t.Fatal(err)
	}
	got := SafeJSON(text.String())
	var back map[string]string
	if err := json.Unmarshal([]byte(got), &back); err != nil || back["m"] != valid {
		t.Errorf("%v: %q", err, back["m"])
	}
	for _, r := range got {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			t.Errorf("%U is left in %q", r, got)
		}
	}
}

func TestTableIsSafe(t *testing.T) {
	var out bytes.Buffer
	if err := NewTable(&out, "STATUS", "AGE").Print([]string{"\x1b[31m", "1m"}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "STATUS     AGE\n\\x1b[31m   1m\n" {
		t.Errorf("%q", got)
	}
}
