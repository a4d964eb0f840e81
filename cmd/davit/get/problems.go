package get

import (
	"context"
	"fmt"
	"io"

	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/cmd/davit/printer"
)

// problems is `davit get problems`.
func (o *Get) problems(ctx context.Context) error {
	list, err := o.Client.Problems(ctx)
	if err != nil {
		return err
	}
	if o.objects() {
		if list == nil {
			list = []wire.Problem{}
		}
		return printer.Object(o.Out, wire.Problems{Items: list}, o.Output == "yaml")
	}
	return printProblems(o.Out, list)
}

// printProblems prints one problem a line.
func printProblems(out io.Writer, list []wire.Problem) error {
	for _, p := range list {
		if _, err := fmt.Fprintln(out, printer.ProblemLine(p)); err != nil {
			return err
		}
	}
	return nil
}
