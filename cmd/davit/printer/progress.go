package printer

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Progress is how far something is that takes its time.
type Progress struct {
	Label       string // what it is
	Note        string // what it is at, such as "3/5 layers"
	Done, Total int64  // bytes; Total 0: not known
}

// barMin and barMax bound the bar, in cells.
const (
	barMin = 10
	barMax = 40
)

// Line is the progress as one line of at most so many cells, with a bar if there
// is room for one. The label is cut first.
func (p Progress) Line(width int) string {
	tail := Safe(p.Note)
	if p.Total > 0 {
		size, unit := unitOf(p.Total)
		tail += "  " + inUnit(p.Done, size) + "/" + inUnit(p.Total, size) + " " + unit
	}
	label := Safe(p.Label)
	bar := 0
	if p.Total > 0 {
		room := width - utf8.RuneCountInString(tail) - utf8.RuneCountInString(label) - 6 // gaps and brackets
		if room < barMin {
			room = barMin
			label = cut(label, width-utf8.RuneCountInString(tail)-6-barMin)
		}
		bar = min(room, barMax)
	}
	line := label + "  "
	if bar > 0 {
		line += "[" + p.bar(bar) + "]  "
	}
	return cut(line+tail, width)
}

func (p Progress) bar(width int) string {
	full := int(float64(max(0, min(p.Done, p.Total))) / float64(p.Total) * float64(width))
	if full == width {
		return strings.Repeat("=", width)
	}
	return strings.Repeat("=", full) + ">" + strings.Repeat(" ", width-full-1)
}

func inUnit(n, size int64) string {
	if size == 1 {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%.1f", float64(n)/float64(size))
}

// cut shortens text to so many cells.
func cut(text string, width int) string {
	if width <= 0 {
		return ""
	}
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	runes := []rune(text)
	if width <= 3 {
		return string(runes[:width])
	}
	return string(runes[:width-3]) + "..."
}
