package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/davit-agent/davit/cmd/davit/printer"
)

// rowView prints a table.
type rowView struct {
	cols  printer.PodColumns
	table *printer.Table
	now   func() time.Time
}

func (v rowView) list(list *v1.PodList, _ bool) error {
	if len(list.Items) == 0 {
		return nil
	}
	var rows [][]string
	for i := range list.Items {
		rows = append(rows, v.cols.Row(&list.Items[i], v.now()))
	}
	return v.table.Print(rows...)
}

func (v rowView) pod(p *v1.Pod) error { return v.table.Print(v.cols.Row(p, v.now())) }

// key is the row as it would be at a fixed time.
func (v rowView) key(p *v1.Pod) string {
	return strings.Join(v.cols.Row(p, time.Time{}), "\x00")
}

// nameView prints names.
type nameView struct{ out io.Writer }

func (v nameView) list(list *v1.PodList, _ bool) error {
	for i := range list.Items {
		if err := v.pod(&list.Items[i]); err != nil {
			return err
		}
	}
	return nil
}

func (v nameView) pod(p *v1.Pod) error {
	_, err := fmt.Fprintln(v.out, "pod/"+p.Name)
	return err
}

func (v nameView) key(p *v1.Pod) string { return p.Name }

// objectView prints Kubernetes objects.
type objectView struct {
	out  io.Writer
	yaml bool
}

var podType = metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}

func (v objectView) list(list *v1.PodList, alone bool) error {
	for i := range list.Items {
		list.Items[i].TypeMeta = podType
	}
	if alone {
		return v.print(&list.Items[0])
	}
	return v.print(list)
}

func (v objectView) pod(p *v1.Pod) error {
	p.TypeMeta = podType
	if v.yaml {
		fmt.Fprintln(v.out, "---")
	}
	return v.print(p)
}

func (v objectView) key(p *v1.Pod) string {
	data, err := json.Marshal(p)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func (v objectView) print(obj any) error {
	data, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	if v.yaml {
		if data, err = yaml.JSONToYAML(data); err != nil {
			return err
		}
		_, err = v.out.Write(data)
		return err
	}
	var text bytes.Buffer
	if err := json.Indent(&text, data, "", "    "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(v.out, text.String())
	return err
}
