package podspec

import (
	"fmt"
	"strings"
	"unicode"
)

// Problem is one thing that is wrong with an object or the text it stands in. It
// keeps the object from being run, unless it is a Warning.
type Problem struct {
	File    string // "" for objects that are from no file
	Line    int    // 1-based, of the field or what is around it; 0 if not known
	Object  string // kind/namespace/name as far as known
	Field   string // path, such as spec.containers[0].image; "" if it is no field's
	Message string // what is wrong and what to do about it
	Warning bool   // the object is taken as it is
}

// String returns the problem as one line: file:line: object: field: message.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Object != "" {
		b.WriteString(p.Object + ": ")
	}
	if p.Field != "" && !strings.Contains(p.Message, p.Field) {
		b.WriteString(strings.Map(printable, p.Field) + ": ")
	}
	if p.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// printable keeps keys with odd characters on one line.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return '?'
}

// Error makes a Problem an error.
func (p Problem) Error() string { return p.String() }
