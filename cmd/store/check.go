package store

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/apogee-mq/apogee/store"
)

func checkCommand() *cobra.Command {
	var opts store.CheckOptions
	var output, logDirs string
	cmd := &cobra.Command{
		Use:   "check DIR",
		Short: "Read a whole store and say whether anything in it is wrong",
		Long: `Read a whole store and say whether anything in it is wrong. Nothing is changed.

Every record of the log is read and its body compared with its checksum; every queue entry and every key in the index
must lead to its record, and every record must have them; tables must parse and no group may be ahead of its queue; the
checkpoint must not promise more than there is. Each finding is one line: how bad, file, position, what was found, what
it means, what to do.

  note         nothing is wrong: what a kill or a power cut leaves, and the next start puts right
  repairable   it can be made anew from the log or a backup; see apogee store repair
  damage       messages or settings are lost

Nothing vouches for some parts of a record: flag, times and addresses of its birth, reconsume times, properties other
than keys and tags. A wrong bit there is not found.

Exit code: 0 whole, 1 something was found, 2 it could not be checked.`,
		Example: `  apogee store check /data/rocketmq/store
  apogee store check /data/rocketmq/store --commitlog /ssd/commitlog --fast
  apogee store check /data/rocketmq/store -o json | jq 'select(.severity == "damage")'`,
		Args: oneDirectory,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			opts.Dir, opts.LogDirs = args[0], store.SplitLogDirs(logDirs)
			return check(cmd, opts, output == "json")
		},
	}
	f := cmd.Flags()
	f.StringVar(&logDirs, "commitlog", "", "where the log lies, if not in DIR/commitlog; several separated by \",\" (storePathCommitLog)")
	f.BoolVar(&opts.Fast, "fast", false, "do not compare bodies with their checksums")
	f.BoolVar(&opts.Live, "live", false, "check although a server has the store open; what it writes meanwhile is not judged")
	f.IntVar(&opts.Workers, "workers", 0, "files to read at a time; 0 is one for each processor")
	f.IntVar(&opts.IndexSlots, "index-slots", 0, "slots of an index file (maxHashSlotNum); 0 finds out")
	f.StringVarP(&output, "output", "o", "text", "text or json: one finding a line, the last line is the verdict")
	return cmd
}

func check(cmd *cobra.Command, opts store.CheckOptions, asJSON bool) error {
	out := cmd.OutOrStdout()
	opts.Found = findingPrinter(out, asJSON)
	meter := newProgress(cmd.ErrOrStderr(), "checked")
	opts.Progress = meter.tell
	report, err := store.Check(cmd.Context(), opts)
	meter.end()
	if err != nil {
		return cannot(opts.Dir, err)
	}
	if err := printReport(out, report, asJSON); err != nil {
		return cannot(opts.Dir, err)
	}
	return verdict(report)
}

// findingPrinter prints findings, one a line.
func findingPrinter(w io.Writer, asJSON bool) func(store.Finding) {
	if asJSON {
		enc := json.NewEncoder(w)
		return func(f store.Finding) { _ = enc.Encode(f) }
	}
	return func(f store.Finding) { fmt.Fprintln(w, f) }
}

func printReport(w io.Writer, r store.CheckReport, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(struct {
			Verdict string `json:"verdict"`
			store.CheckReport
		}{r.Verdict(), r})
	}
	_, err := fmt.Fprintf(w, `%s: %s
  log      %d records in %d files, from %d to %d
  queues   %d with %d entries
  index    %d files with %d entries
  tables   %d
  found    %d damage, %d repairable, %d notes
`, r.Dir, r.Verdict(), r.Records, r.LogFiles, r.LogBegin, r.LogEnd, r.Queues, r.QueueEntries, r.IndexFiles, r.IndexEntries,
		r.Tables, r.Damaged, r.Repairable, r.Notes)
	return err
}
