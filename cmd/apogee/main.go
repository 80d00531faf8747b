// Command apogee is a RocketMQ name server and broker in one binary. Under the names mqnamesrv, mqbroker and mqadmin
// it takes the flags of Apache's scripts.
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
	"github.com/apogee-mq/apogee/cmd/bench"
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
	who, help := "apogee", name+" --help"
	var err error
	switch strings.TrimSuffix(name, ".sh") {
	case "mqnamesrv":
		args = append([]string{"namesrv"}, args...)
	case "mqbroker":
		args = append([]string{"broker"}, args...)
	case "mqadmin":
		who = "mqadmin"
		cmd = adminCommand(who)
		help = admin.HelpFor(who, args)
		args, err = admin.Arguments(cmd, args)
	default:
		if len(args) > 0 && args[0] == "admin" {
			help = admin.HelpFor(name+" admin", args[1:])
		}
		args, err = adminArguments(cmd, args)
	}
	if err == nil {
		cmd.SetArgs(args)
		err = cmd.ExecuteContext(ctx)
	}
	var exit store.ExitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		if exit.Err != nil {
			fmt.Fprintf(os.Stderr, "apogee: %v\n", exit.Err)
		}
		return exit.Code
	case errors.As(err, new(startError)):
		fmt.Fprintf(os.Stderr, "%s: %v\n", who, withHint(err))
		return exitStart
	default:
		fmt.Fprintf(os.Stderr, "%s: %v (see %s)\n", who, err, help)
		return exitUsage
	}
}

func adminCommand(name string) *cobra.Command {
	return admin.Command(name, func(err error) error { return startError{err} })
}

// adminArguments gives what follows `apogee admin` the ways of mqadmin.
func adminArguments(root *cobra.Command, args []string) ([]string, error) {
	if len(args) == 0 || args[0] != "admin" {
		return args, nil
	}
	cmd, _, err := root.Find(args[:1])
	if err != nil {
		return args, nil
	}
	rest, err := admin.Arguments(cmd, args[1:])
	return append([]string{"admin"}, rest...), err
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
		adminCommand("admin"), store.Command(), manCommand(), bench.Command(func(err error) error { return startError{err} }))
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

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man",
		Short: "Print the manual page of mqadmin, for man -l or a man1 folder",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return admin.WriteMan(cmd.OutOrStdout(), version) },
	}
}
