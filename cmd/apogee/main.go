// Command apogee is a RocketMQ name server and broker in one binary. Under the names mqnamesrv and mqbroker it takes the
// flags of Apache's start scripts.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/apogee-mq/apogee/cmd/admin"
	"github.com/apogee-mq/apogee/cmd/store"
)

// Set by the linker.
var (
	version = "0.1.0"
	commit  = "unknown"
)

// Exit codes.
const (
	exitOK    = 0
	exitStart = 1
	exitUsage = 2
)

// startError is a server that could not start or a command that failed, as against a wrong command line.
type startError struct{ error }

func (e startError) Unwrap() error { return e.error }

func main() { os.Exit(run(filepath.Base(os.Args[0]), os.Args[1:])) }

func run(name string, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cmd := rootCommand()
	switch strings.TrimSuffix(name, ".sh") {
	case "mqnamesrv":
		args = append([]string{"namesrv"}, args...)
	case "mqbroker":
		args = append([]string{"broker"}, args...)
	}
	cmd.SetArgs(args)
	var exit store.ExitError
	switch err := cmd.ExecuteContext(ctx); {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		if exit.Err != nil {
			fmt.Fprintf(os.Stderr, "apogee: %v\n", exit.Err)
		}
		return exit.Code
	case errors.As(err, new(startError)):
		fmt.Fprintf(os.Stderr, "apogee: %v\n", withHint(err))
		return exitStart
	default:
		fmt.Fprintf(os.Stderr, "apogee: %v (see %s --help)\n", err, name)
		return exitUsage
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "apogee",
		Short:         "A RocketMQ name server and broker in one binary",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(serverCommand(), namesrvCommand(), brokerCommand(), versionCommand(),
		admin.Command(func(err error) error { return startError{err} }), store.Command())
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version, commit and the protocol version that clients are told",
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), versionLine()) },
	}
}
