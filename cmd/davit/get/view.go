package get

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/cmd/davit/printer"
)

// view is a way to print what get finds.
type view interface {
	// list prints all of it, or its only object when that was asked for alone.
	list(all []found, alone bool) error
	// change prints an entry that came, changed or went.
	change(k *Kind, e entry) error
	// key changes when there is something new to print.
	key(k *Kind, e entry) string
}

// rowView prints a table for each kind.
type rowView struct {
	out       io.Writer
	wide      bool
	namespace bool // in a column of its own
	kinds     bool // there are several: names tell them
	now       func() time.Time
	table     *printer.Table // the last
}

func (v *rowView) list(all []found, _ bool) error {
	begun := false
	for _, f := range all {
		v.open(f.kind)
		if len(f.entries) == 0 {
			continue
		}
		if begun {
			fmt.Fprintln(v.out)
		}
		begun = true
		var rows [][]string
		for _, e := range f.entries {
			rows = append(rows, v.row(f.kind, e, v.now()))
		}
		if err := v.table.Print(rows...); err != nil {
			return err
		}
	}
	return nil
}

func (v *rowView) open(k *Kind) {
	header := k.header(v.wide)
	if v.namespace && !k.Cluster {
		header = append([]string{"NAMESPACE"}, header...)
	}
	v.table = printer.NewTable(v.out, header...)
}

func (v *rowView) row(k *Kind, e entry, now time.Time) []string {
	row := e.row(v.wide, now)
	if v.kinds {
		row[0] = k.Singular + "/" + row[0]
	}
	if v.namespace && !k.Cluster {
		row = append([]string{e.meta.GetNamespace()}, row...)
	}
	return row
}

func (v *rowView) change(k *Kind, e entry) error { return v.table.Print(v.row(k, e, v.now())) }

// key is the row as it would be at a fixed time.
func (v *rowView) key(k *Kind, e entry) string {
	return strings.Join(v.row(k, e, time.Time{}), "\x00")
}

// nameView prints names.
type nameView struct{ out io.Writer }

func (v nameView) list(all []found, _ bool) error {
	for _, f := range all {
		for _, e := range f.entries {
			if err := v.change(f.kind, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v nameView) change(k *Kind, e entry) error {
	_, err := fmt.Fprintln(v.out, k.Singular+"/"+printer.Safe(e.meta.GetName()))
	return err
}

func (v nameView) key(_ *Kind, e entry) string { return e.meta.GetName() }

// objectView prints Kubernetes objects.
type objectView struct {
	out  io.Writer
	yaml bool
}

// objectList is a list as kubectl prints it.
type objectList struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        map[string]string `json:"metadata"`
	Items           []any             `json:"items"`
}

func (v objectView) list(all []found, alone bool) error {
	if alone && count(all) == 0 {
		return nil // which is an error told elsewhere
	}
	kind := "List"
	if len(all) == 1 {
		kind = all[0].kind.Object + "List"
	}
	list := objectList{TypeMeta: typed(kind), Metadata: map[string]string{"resourceVersion": ""}, Items: []any{}}
	for _, f := range all {
		for _, e := range f.entries {
			list.Items = append(list.Items, e.object)
		}
	}
	if alone {
		return v.print(list.Items[0])
	}
	return v.print(list)
}

func (v objectView) change(_ *Kind, e entry) error {
	if v.yaml {
		fmt.Fprintln(v.out, "---")
	}
	return v.print(e.object)
}

func (v objectView) key(_ *Kind, e entry) string {
	data, err := json.Marshal(e.object)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func (v objectView) print(obj any) error { return printer.Object(v.out, obj, v.yaml) }
