package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/davit-agent/davit/agent/server/wire"
)

func newGetProblems(g *global) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "problems",
		Short: "Show the manifests that davit cannot use, and why",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "" && output != "json" {
				return usagef("-o %s: there is json", output)
			}
			list, err := g.client().Problems(cmd.Context())
			if err != nil {
				return err
			}
			return printProblems(cmd.OutOrStdout(), list, output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "json")
	return cmd
}

// printProblems prints one problem a line, in the form FILE:LINE: OBJECT: FIELD:
// TEXT, the beginning of which editors understand.
func printProblems(out io.Writer, list []wire.Problem, output string) error {
	if output == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "    ")
		return enc.Encode(wire.Problems{Items: list})
	}
	for _, p := range list {
		at := p.File
		if p.Line > 0 {
			at += ":" + strconv.Itoa(p.Line)
		}
		parts := []string{at, p.Object, p.Field, p.Message}
		if strings.Contains(p.Message, p.Field) {
			parts[2] = ""
		}
		parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
		if _, err := fmt.Fprintln(out, strings.Join(parts, ": ")); err != nil {
			return err
		}
	}
	return nil
}
