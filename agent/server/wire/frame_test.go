package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is written is read again, in frames that keep the bound.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var buf bytes.Buffer
		w := NewWriter(&buf)
		type part struct {
			kind Kind
			data []byte
		}
		var want []part
		for range rapid.IntRange(0, 5).Draw(t, "parts") {
			p := part{Kind(rapid.IntRange(0, int(kinds)-1).Draw(t, "kind")),
				bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, rapid.IntRange(0, 3*MaxPayload).Draw(t, "len"))}
			want = append(want, p)
			if err := w.Write(p.kind, p.data); err != nil {
				t.Fatal(err)
			}
		}
		r := NewReader(&buf)
		for _, p := range want {
			var got []byte
			for first := true; first || len(got) < len(p.data); first = false {
				kind, data, err := r.Next()
				if err != nil || kind != p.kind {
					t.Fatalf("kind %d, error %v, want kind %d", kind, err, p.kind)
				}
				got = append(got, data...)
			}
			if !bytes.Equal(got, p.data) {
				t.Fatalf("read %d bytes, wrote %d", len(got), len(p.data))
			}
		}
		if _, _, err := r.Next(); err != io.EOF {
			t.Fatalf("error %v at the end, want io.EOF", err)
		}
	})
}

func TestBadFrames(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"kind":   {string([]byte{byte(kinds), 0, 0, 0, 0}), "unknown kind"},
		"length": {string([]byte{0, 0xff, 0xff, 0xff, 0xff}), "over the limit"},
		"header": {string([]byte{0, 0, 0}), "unexpected EOF"},
		"cut":    {string([]byte{0, 0, 0, 0, 2, 'x'}), "unexpected EOF"},
		"empty":  {string([]byte{0, 0, 0, 0, 2}), "unexpected EOF"},
	} {
		_, _, err := NewReader(strings.NewReader(c.in)).Next()
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, io.EOF) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	if _, err := Uint32([]byte{1}); err == nil {
		t.Error("Uint32 took one byte")
	}
}
