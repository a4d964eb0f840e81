package printer

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Safe returns text as one line that does nothing to a terminal: what a manifest,
// a container or a registry says ends up in statuses and errors, and may hold
// escape sequences or marks that turn the order of letters around. Whatever is
// not printable is written as Go would quote it.
func Safe(text string) string { return safe(text, "") }

// SafeText is Safe for a text of several lines: line breaks and tabs stay.
func SafeText(text string) string { return safe(text, "\n\t") }

func safe(text, keep string) string {
	clean := func(r rune) bool { return unicode.IsPrint(r) || strings.ContainsRune(keep, r) }
	if utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !clean(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b.WriteString(strings.Trim(strconv.Quote(text[i:i+1]), `"`))
		case clean(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// SafeJSON writes what is not printable in the strings of a JSON text as escapes:
// JSON itself wants that only of the lowest 32 characters.
func SafeJSON(text string) string {
	clean := func(r rune) bool { return r == '\n' || r == '\t' || unicode.IsPrint(r) }
	if strings.IndexFunc(text, func(r rune) bool { return !clean(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case clean(r):
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			b.WriteString(`\u` + strconv.FormatInt(int64(hi), 16) + `\u` + strconv.FormatInt(int64(lo), 16))
		default:
			hex := strconv.FormatInt(int64(r), 16)
			b.WriteString(`\u` + strings.Repeat("0", 4-len(hex)) + hex)
		}
	}
	return b.String()
}
