package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/cmd/davit/printer"
)

func newImages(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "images",
		Aliases: []string{"image"},
		Short:   "List, pull, load and remove the images on this node",
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			words := []string{"ls", "pull", "load", "rm"}
			if len(args) > 0 {
				return usagef("unknown command %q for images; there are %s", args[0], strings.Join(words, ", "))
			}
			return usagef("images what? One of: %s", strings.Join(words, ", "))
		},
	}
	cmd.AddCommand(newImagesLs(g), newImagesPull(g), newImagesLoad(g), newImagesRm(g))
	return cmd
}

func newImagesLs(g *global) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the images on this node, with the number of pods that use them",
		Long: "List the images on this node, with the number of pods that use them (their names with -o wide). The size is\n" +
			"that of the content as it was fetched. What is pinned is never removed.",
		Example: "  davit images ls\n  davit images ls -o wide\n  davit images ls -o name",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if formats := []string{"", "wide", "json", "yaml", "name"}; !slices.Contains(formats, output) {
				return usagef("-o %s: there are %s", output, strings.Join(formats[1:], ", "))
			}
			list, err := g.client().Images(cmd.Context())
			if err != nil {
				return err
			}
			if len(list) == 0 && output != "json" && output != "yaml" {
				fmt.Fprintln(cmd.ErrOrStderr(), "No images found")
				return nil
			}
			return printImages(cmd.OutOrStdout(), list, output, time.Now())
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "wide, json, yaml or name")
	return cmd
}

// printImages prints a list in one of the outputs.
func printImages(out io.Writer, list []wire.Image, output string, now time.Time) error {
	switch output {
	case "json", "yaml":
		text, err := json.MarshalIndent(wire.Images{Items: list}, "", "    ")
		if err == nil && output == "yaml" {
			text, err = yaml.JSONToYAML(text)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, strings.TrimSuffix(printer.SafeJSON(string(text)), "\n"))
		return err
	case "name":
		for _, i := range list {
			for _, name := range imageRefs(i) {
				if _, err := fmt.Fprintln(out, printer.Safe(name)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	var rows [][]string
	for _, i := range list {
		rows = append(rows, printer.ImageRows(i, output == "wide", now)...)
	}
	return printer.NewTable(out, printer.ImageHeader(output == "wide")...).Print(rows...)
}

// imageRefs are the names of an image that other commands take: its ID if it has
// none.
func imageRefs(i wire.Image) []string {
	if len(i.Names) > 0 {
		return i.Names
	}
	return []string{i.ID}
}

func newImagesRm(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "rm IMAGE...",
		Aliases: []string{"remove", "delete"},
		Short:   "Remove images by name, or by ID with all their names",
		Long: "Remove images by name, or by ID (sha256:..., in full) with all their names. The content goes with the last\n" +
			"name. Containers that run from an image go on.",
		Example: "  davit images rm registry.example/app:1",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, refs []string) error {
			var errs []error
			for _, ref := range refs {
				if err := g.client().RemoveImage(cmd.Context(), ref); err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Fprintln(cmd.OutOrStdout(), printer.Safe(ref), "removed")
			}
			return errors.Join(errs...)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			list, err := g.client().Images(ctx)
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			var names []string
			for _, i := range list {
				names = append(names, imageRefs(i)...)
			}
			names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(args, name) })
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}
