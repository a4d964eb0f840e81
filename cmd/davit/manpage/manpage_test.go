package manpage

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// roff takes lines that begin with a dot or a quote for commands.
func TestRoff(t *testing.T) {
	if got, want := roff(".x\n'y\\z -a\nb.c"), "\\&.x\n\\&'y\\ez \\-a\nb.c"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	cmd := &cobra.Command{Use: "x", Short: "y", Long: "one\n\n  indented\n  twice\n\ntwo"}
	var b bytes.Buffer
	page(&b, cmd)
	if want := ".SH DESCRIPTION\none\n.PP\n.EX\n  indented\n  twice\n.EE\n.PP\ntwo\n"; !strings.Contains(b.String(), want) {
		t.Errorf("%q lacks %q", b.String(), want)
	}
}
