package main

import (
	"log/slog"
	"os"
	goruntime "runtime"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/davit-agent/davit/agent"
	"github.com/davit-agent/davit/agent/server/wire"
)

func newRun() *cobra.Command {
	var level slog.LevelVar
	var format string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run this node's pods, until SIGTERM or SIGINT; they outlive it",
		Example: "  davit run --config /etc/davit/config.yaml\n" +
			"  davit run --source-manifests /srv/manifests --log-format json",
		Args: cobra.NoArgs,
	}
	load := configFlags(cmd.Flags())
	cmd.Flags().TextVar(&level, "log-level", &level, "DEBUG, INFO, WARN or ERROR")
	cmd.Flags().StringVar(&format, "log-format", "text", "text or json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log, err := newLogger(&level, format)
		if err != nil {
			return err
		}
		cfg, err := load()
		if err != nil {
			return err
		}
		a, err := agent.New(*cfg, wire.Version{Version: buildVersion(), Go: goruntime.Version(), Node: cfg.NodeName}, log)
		if err != nil {
			return err
		}
		return a.Run(cmd.Context())
	}
	return cmd
}

// newLogger returns the logger of the daemon, to which Kubernetes' libraries
// write as well.
func newLogger(level slog.Leveler, format string) (*slog.Logger, error) {
	opts := &slog.HandlerOptions{Level: level}
	var log *slog.Logger
	switch format {
	case "text":
		log = slog.New(slog.NewTextHandler(os.Stderr, opts))
	case "json":
		log = slog.New(slog.NewJSONHandler(os.Stderr, opts))
	default:
		return nil, usagef("--log-format %s: there are text and json", format)
	}
	klog.SetSlogLogger(log)
	return log, nil
}
