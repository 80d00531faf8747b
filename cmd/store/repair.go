package store

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/apogee-mq/apogee/store"
)

func repairCommand() *cobra.Command {
	var opts store.RepairOptions
	var output, logDirs, levels string
	var write bool
	cmd := &cobra.Command{
		Use:   "repair DIR",
		Short: "Say what can be put right in a store without guessing, and do it with --write",
		Long: `Say what can be put right in a store without guessing, and do it with --write.

Damaged queues and index files are kept aside and made anew from the log; a table that cannot be read is replaced by its
backup; a checkpoint that cannot be right is written anew; a record that was cut off at the end of the log is taken away.
What is replaced is kept in DIR/apogee/aside. No byte of a whole message is changed or removed. With --write no server
may have the store open, and nothing may open it meanwhile.

Exit code: 0 the store is whole (with --write: it is now), 1 it is not, 2 it could not be checked or repaired.`,
		Example: `  apogee store repair /data/rocketmq/store
  apogee store repair /data/rocketmq/store --write`,
		Args: oneDirectory,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := checkOutput(output); err != nil {
				return err
			}
			if levels != "" {
				if opts.DelayLevels, err = store.ParseDelayLevels(levels); err != nil {
					return fmt.Errorf("--delay-levels: %w", err)
				}
			}
			opts.Dir, opts.LogDirs = args[0], store.SplitLogDirs(logDirs)
			if write {
				return repair(cmd, opts, output == "json")
			}
			return planRepair(cmd, opts, output == "json")
		},
	}
	f := cmd.Flags()
	f.BoolVar(&write, "write", false, "do it")
	f.StringVar(&logDirs, "commitlog", "", "where the log lies, if not in DIR/commitlog; several separated by \",\" (storePathCommitLog)")
	f.StringVar(&levels, "delay-levels", "", "messageDelayLevel, if queues of delayed messages are to be made anew")
	f.IntVar(&opts.IndexSlots, "index-slots", 0, "slots of an index file (maxHashSlotNum); 0 finds out")
	f.StringVarP(&output, "output", "o", "text", "text or json: one step a line, the last line is the verdict")
	return cmd
}

// planRepair prints the report without which nobody should repair anything.
func planRepair(cmd *cobra.Command, opts store.RepairOptions, asJSON bool) error {
	meter := newProgress(cmd.ErrOrStderr(), "checked")
	opts.Progress = meter.tell
	report, steps, err := store.PlanRepair(cmd.Context(), opts)
	meter.end()
	if err != nil {
		return cannot(opts.Dir, err)
	}
	print := stepPrinter(cmd.OutOrStdout(), asJSON)
	for _, s := range steps {
		print(s)
	}
	if err := printReport(cmd.OutOrStdout(), report, asJSON); err != nil {
		return cannot(opts.Dir, err)
	}
	if len(steps) > 0 && !asJSON {
		fmt.Fprintln(cmd.OutOrStdout(), "Nothing was changed; --write does it.")
	}
	return verdict(report)
}

func repair(cmd *cobra.Command, opts store.RepairOptions, asJSON bool) error {
	meter := newProgress(cmd.ErrOrStderr(), "checked")
	opts.Progress = meter.tell
	report, err := store.Repair(cmd.Context(), opts, stepPrinter(cmd.OutOrStdout(), asJSON))
	meter.end()
	if err != nil {
		return cannot(opts.Dir, err)
	}
	if err := printReport(cmd.OutOrStdout(), report, asJSON); err != nil {
		return cannot(opts.Dir, err)
	}
	return verdict(report)
}

func verdict(r store.CheckReport) error {
	if r.Whole() {
		return nil
	}
	return ExitError{Code: exitFindings}
}

func stepPrinter(w io.Writer, asJSON bool) func(store.RepairStep) {
	if asJSON {
		enc := json.NewEncoder(w)
		return func(s store.RepairStep) { _ = enc.Encode(s) }
	}
	return func(s store.RepairStep) { fmt.Fprintln(w, s) }
}
