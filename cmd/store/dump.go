package store

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/apogee-mq/apogee/store"
)

func dumpCommand() *cobra.Command {
	opts := store.DumpOptions{}
	var output, body string
	cmd := &cobra.Command{
		Use:   "dump FILE|DIR",
		Short: "Show what any file of a store holds, in words or as JSON",
		Long: `Show what any file of a store holds, in words or as JSON lines: commit log, consume queue, batch consume queue, index,
checkpoint, timer log, timer wheel, compaction log, tables, and Apogee's own files. What a file is, its place and its first bytes say. Of a directory every
known file is shown. Damage is a row of its own; the rest is shown behind it. Times are UTC.

Exit code: 0 shown, 2 it could not be shown.`,
		Example: `  apogee store dump /data/store/commitlog/00000000000000000000 --from 4711 --limit 1
  apogee store dump /data/store/commitlog --topic Orders --queue 3 -o json | jq .queueOffset
  apogee store dump /data/store/consumequeue/Orders/3
  apogee store dump /data/store/checkpoint`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			forms := map[string]store.BodyForm{"text": store.BodyText, "hex": store.BodyHex, "none": store.BodyNone}
			form, ok := forms[body]
			if !ok {
				return fmt.Errorf("--body %q: want text, hex or none", body)
			}
			opts.JSON, opts.Body = output == "json", form
			return dump(cmd, args[0], opts)
		},
	}
	f := cmd.Flags()
	f.Int64Var(&opts.From, "from", 0, "begin at this physical offset (log), queue offset (queues), entry (index)")
	f.Int64Var(&opts.Limit, "limit", 0, "show at most so many rows; 0 is all")
	f.StringVar(&opts.Topic, "topic", "", "only records and queues of this topic")
	f.Int32Var(&opts.QueueID, "queue", -1, "only records and queues with this queue id")
	f.StringVar(&body, "body", "text", "bodies as text, hex or none")
	f.IntVar(&opts.IndexSlots, "index-slots", 0, "slots of an index file (maxHashSlotNum); 0 finds out")
	f.StringVarP(&output, "output", "o", "text", "text or json, one row a line")
	return cmd
}

func dump(cmd *cobra.Command, path string, opts store.DumpOptions) error {
	err := store.Dump(cmd.Context(), cmd.OutOrStdout(), path, opts)
	if errors.Is(err, store.ErrUnknownFile) {
		return ExitError{exitCannot, fmt.Errorf("%w; see apogee store dump --help for those that are known", err)}
	}
	if err != nil {
		return cannot(path, err)
	}
	return nil
}

func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s wants one file or directory, not %d arguments", cmd.CommandPath(), len(args))
	}
	return nil
}
