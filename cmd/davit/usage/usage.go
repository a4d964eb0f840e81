// Package usage is what the commands say of command lines that make no sense:
// davit ends with exit code 2 then, and points to its help.
package usage

import (
	"fmt"

	"github.com/davit-agent/davit/agent/podspec/strictyaml"
)

// Error is a command line that makes no sense.
type Error struct{ error }

// Unwrap returns the error without the mark.
func (e Error) Unwrap() error { return e.error }

// Errorf returns an Error.
func Errorf(format string, args ...any) error { return Error{fmt.Errorf(format, args...)} }

// DidYouMean is a question to put behind an error about a wrong word, or "" when
// none of words is near to it.
func DidYouMean(word string, words []string) string {
	if near := strictyaml.Nearest(word, words); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return ""
}
