package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/davit-agent/davit/agent"
)

func newCleanup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove every kernel object that davit made, running pods included",
		Long: "Remove every kernel object that davit made on this node: containers, namespaces, mounts, links, rules,\n" +
			"cgroups, FIFOs and the log pump. Davit must not run, containerd must. Records and logs stay.",
		Example: "  davit cleanup --config /etc/davit/config.yaml",
		Args:    cobra.NoArgs,
	}
	load := configFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log, err := newLogger(slog.LevelWarn, "text")
		if err != nil {
			return err
		}
		cfg, err := load()
		if err != nil {
			return err
		}
		return agent.Cleanup(cmd.Context(), *cfg, log)
	}
	return cmd
}
