package support

import "slices"

// Support says what davit does with a field.
type Support string

// What davit may do with a field.
const (
	Supported Support = "supported"
	Ignored   Support = "ignored by design"
	// Invalid: Kubernetes itself refuses the field at this place.
	Invalid Support = "invalid, as in Kubernetes"
	// NotYet: refused by name, and meant to come.
	NotYet Support = "not yet"
	// Refused by name, and not meant to come.
	Refused Support = "refused"
)

// Row is what davit does with one field of a Pod. The row of a field that is
// not supported stands for everything below it, too.
type Row struct {
	// Path of the field; [] stands for any index. Rows of spec.containers[]
	// hold for spec.initContainers[] and spec.ephemeralContainers[] too where
	// those have none of their own.
	Path    string
	Support Support
	// Values, of a supported field: the only ones (of a map: the only keys)
	// that are supported yet; a * at the end stands for anything. Empty: all
	// that are valid.
	Values []string
	// If, of a supported field: the condition under which it is.
	If Condition
	// Note is for people: of what is not supported, why, or what to do instead.
	Note string
}

// Condition is a condition on the pod that a Row may have.
type Condition string

// HostNetwork is the condition of rows that hold for pods on the host's network
// only.
const HostNetwork Condition = "hostNetwork is true"

// Rows is what davit does with each field of a Pod, in no particular order.
var Rows = slices.Concat(metaRows, volumeRows, containerRows, probeRows, securityRows, podRows)

// all are the rows of fields that are supported, below a path.
func all(path string, below ...string) []Row {
	var rows []Row
	for _, name := range below {
		rows = append(rows, Row{Path: path + name, Support: Supported})
	}
	return rows
}

// none are the rows of fields that are not supported, below a path.
func none(s Support, note, path string, below ...string) []Row {
	var rows []Row
	for _, name := range below {
		rows = append(rows, Row{Path: path + name, Support: s, Note: note})
	}
	return rows
}
