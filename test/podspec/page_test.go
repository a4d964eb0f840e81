package podspec

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPage: the page is what is generated.
func TestPage(t *testing.T) {
	have, err := os.ReadFile("../../docs/podspec.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), Page()); diff != "" {
		t.Errorf("docs/podspec.md is not up to date, run go generate ./test/podspec (-have +want):\n%s", diff)
	}
}
