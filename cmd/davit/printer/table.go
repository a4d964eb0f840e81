package printer

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	v1 "k8s.io/api/core/v1"
)

// gap is the space between columns.
const gap = 3

// Table prints rows under a header that comes before the first of them. Columns
// never get narrower, so that rows printed later, as a watch does, stay under
// their header as far as that can be.
type Table struct {
	out    io.Writer
	header []string
	widths []int
	begun  bool
}

// NewTable returns a table of these columns.
func NewTable(out io.Writer, header ...string) *Table {
	return &Table{out: out, header: header, widths: make([]int, len(header))}
}

// Print prints rows, each with a cell for every column. What would do something
// to a terminal is escaped.
func (t *Table) Print(rows ...[]string) error {
	if !t.begun {
		t.begun = true
		rows = append([][]string{t.header}, rows...)
	} else {
		rows = slices.Clone(rows)
	}
	for n, row := range rows {
		rows[n] = make([]string, len(row))
		for i, cell := range row {
			cell = Safe(cell)
			rows[n][i] = cell
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell)+gap))
			}
		}
		if _, err := fmt.Fprintln(t.out, line.String()); err != nil {
			return err
		}
	}
	return nil
}

// PodColumns says which columns a table of pods has.
type PodColumns struct {
	Namespace bool // for pods of all namespaces
	Wide      bool // IP and NODE as well
}

// Header is the header of the columns.
func (c PodColumns) Header() []string {
	h := []string{"NAME", "READY", "STATUS", "RESTARTS", "AGE"}
	if c.Namespace {
		h = append([]string{"NAMESPACE"}, h...)
	}
	if c.Wide {
		h = append(h, "IP", "NODE")
	}
	return h
}

// Row is the row of a pod.
func (c PodColumns) Row(pod *v1.Pod, now time.Time) []string {
	s := Summarize(pod)
	row := []string{pod.Name, fmt.Sprintf("%d/%d", s.Ready, s.Total), s.Status, s.restarts(now), age(pod.CreationTimestamp, now)}
	if c.Namespace {
		row = append([]string{pod.Namespace}, row...)
	}
	if c.Wide {
		ip := pod.Status.PodIP
		if ip == "" && len(pod.Status.PodIPs) > 0 {
			ip = pod.Status.PodIPs[0].IP
		}
		row = append(row, orNone(ip), orNone(pod.Spec.NodeName))
	}
	return row
}

func orNone(text string) string {
	if text == "" {
		return "<none>"
	}
	return text
}
