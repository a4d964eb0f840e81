package main

import (
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/davit-agent/davit/agent"
)

const defaultConfig = "/etc/davit/config.yaml"

// configFlags adds --config and a flag for each key, and returns what reads the
// configuration that they give.
func configFlags(fs *pflag.FlagSet) (load func() (*agent.Config, error)) {
	path := fs.String("config", "", "configuration file (default "+defaultConfig+", if it is there)")
	keys := agent.BindFlags(fs)
	return func() (*agent.Config, error) { return loadConfig(*path, keys) }
}

func loadConfig(path string, keys *agent.ConfigFlags) (*agent.Config, error) {
	if path == "" {
		if _, err := os.Stat(defaultConfig); !errors.Is(err, fs.ErrNotExist) {
			path = defaultConfig
		}
	}
	cfg, err := agent.LoadConfig(path, keys)
	if err != nil {
		return nil, err
	}
	if err := cfg.Complete(agent.Host{Name: os.Hostname, IPs: outwardIPs}); err != nil {
		return nil, err
	}
	return cfg, cfg.Validate()
}

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Look at the configuration",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usagef("config what? There is: print")
		},
	}
	show := &cobra.Command{
		Use:   "print",
		Short: "Show the configuration in effect: defaults, file and flags together",
		Long: "Show the configuration in effect: defaults, file and flags together, as a file that davit reads. What may be\n" +
			"secret in it, the user, password and query of source.url and the values of source.urlHeaders, shows as ***.",
		Example: "  davit config print --config /etc/davit/config.yaml",
		Args:    cobra.NoArgs,
	}
	secrets := show.Flags().Bool("show-secrets", false, "show what may be secret as well")
	load := configFlags(show.Flags())
	show.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		if !*secrets {
			cfg = cfg.Conceal()
		}
		text, err := cfg.Print()
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(text)
		return err
	}
	cmd.AddCommand(show)
	return cmd
}
