package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/apogee-mq/apogee/broker"
	"github.com/apogee-mq/apogee/namesrv"
)

// logFlags choose how the log on stderr looks.
type logFlags struct {
	format, level string
	// now is the level in force; a configuration file may change it, and UPDATE_BROKER_CONFIG and UPDATE_NAMESRV_CONFIG at run time.
	now slog.LevelVar
}

func (f *logFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.format, "log-format", "text", "text or json")
	cmd.Flags().StringVar(&f.level, "log-level", "info", "debug, info, warn or error; logLevel of the configuration changes it at run time")
}

// broker hands the level in force to a broker; one given on the command line wins over the file's.
func (f *logFlags) broker(cmd *cobra.Command, cfg *broker.Config) {
	cfg.Level = &f.now
	if cmd.Flags().Changed("log-level") {
		cfg.LogLevel = f.level
	}
}

// namesrv is broker for a name server.
func (f *logFlags) namesrv(cmd *cobra.Command, opts *namesrv.Options) {
	opts.Level = &f.now
	if cmd.Flags().Changed("log-level") {
		opts.LogLevel = f.level
	}
}

func (f *logFlags) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", f.level)
	}
	f.now.Set(level)
	opts := &slog.HandlerOptions{Level: &f.now}
	switch f.format {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, opts)), nil
	}
	return nil, fmt.Errorf("--log-format %q: want text or json", f.format)
}
