// Package store holds the commands that look at a store directory without a server, one file each. They work on Apache's
// directories too.
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/apogee-mq/apogee/store"
)

// Exit codes of the commands.
const (
	exitFindings = 1
	exitCannot   = 2
)

// ExitError ends the process with Code. Err may be nil when everything is said.
type ExitError struct {
	Code int
	Err  error
}

// Error returns the text of Err.
func (e ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e ExitError) Unwrap() error { return e.Err }

// Command returns `apogee store`.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Look at a store directory, Apache's or Apogee's, while no server runs on it",
		Long: `Look at a store directory (storePathRootDir), written by Apache RocketMQ or by Apogee, while no server runs on it.

  check    reads everything and says whether it is whole; changes nothing
  dump     shows any file of a store in words or as JSON; changes nothing
  repair   says what it would put right, and does so with --write`,
		Example: `  apogee store check /data/rocketmq/store
  apogee store dump /data/rocketmq/store/commitlog/00000000000000000000 --limit 10
  apogee store repair /data/rocketmq/store
  apogee store repair /data/rocketmq/store --write`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(checkCommand(), dumpCommand(), repairCommand())
	return cmd
}

// cannot says in one sentence why a command could not do its work.
func cannot(path string, err error) error {
	switch {
	case errors.Is(err, store.ErrInUse):
		err = fmt.Errorf("%w; stop that server first", err)
	case errors.Is(err, store.ErrNoStore):
		err = fmt.Errorf("%w; name the folder that storePathRootDir names", err)
	case errors.Is(err, fs.ErrNotExist):
		if _, missing := os.Stat(path); missing != nil {
			err = fmt.Errorf("%s does not exist; name the folder that storePathRootDir names", path)
		}
	case errors.Is(err, syscall.ENOTDIR):
		err = fmt.Errorf("%s is no directory; name the folder that storePathRootDir names", path)
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%w; run it as the user that runs the server", err)
	}
	return ExitError{exitCannot, err}
}

// oneDirectory takes the one argument of a command.
func oneDirectory(cmd *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return fmt.Errorf("%s wants the store directory", cmd.CommandPath())
	case 1:
		return nil
	}
	return fmt.Errorf("%s takes one directory, not %d arguments", cmd.CommandPath(), len(args))
}

// checkOutput refuses what -o cannot be.
func checkOutput(output string) error {
	if output != "text" && output != "json" {
		return fmt.Errorf("-o %q: want text or json", output)
	}
	return nil
}
