package admin

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/apogee-mq/apogee/remoting"
)

// defaultTimeout bounds one request of a command. Apache: MQAdminExt's timeoutMillis.
const defaultTimeout = 5 * time.Second

// defaultNamesrv is asked when neither -n nor NAMESRV_ADDR names one.
const defaultNamesrv = "127.0.0.1:9876"

// spec is one command.
type spec struct {
	name  string
	alias string
	short string // one line of the list of commands, in the imperative
	long  string // what the help says beyond short; may be empty
	// options are Apache's, in the order of the help.
	options []option
	// oneOf are groups of options of which exactly one has to be given, anyOf of which at least one.
	oneOf, anyOf [][]string
	run          func(s *session) error
}

// family is a group of commands in the help.
type family struct {
	title string
	specs []spec
}

// families are all commands.
func families() []family {
	return []family{
		{"Topics", slices.Concat(topicCommands(), staticTopicCommands())},
		{"Statistics", slices.Concat(statsCommands(), sendRTCommands())},
		{"Lite topics", liteCommands()},
		{"RocksDB", rocksDBCommands()},
		{"Clusters and brokers", slices.Concat(clusterCommands(), brokerCommands(), haCommands(), brokerCleanCommands(), coldDataCommands())},
		{"Name servers", namesrvCommands()},
		{"Controllers and containers", slices.Concat(controllerCommands(), containerCommands())},
		{"Users and their rights", slices.Concat(userCommands(), aclCommands())},
		{"Consumer groups and clients", slices.Concat(groupCommands(), consumerCommands(), offsetCommands(), monitorCommands())},
		{"Messages", slices.Concat(messageCommands(), queryCommands(), printCommands(), compactionLogCommands(), traceCommands())},
		{"Exports", exportCommands()},
	}
}

// Command returns the tree of commands under the given name: "admin" below apogee, "mqadmin" by itself. failed marks an error of a
// command as against a wrong command line.
func Command(name string, failed func(error) error) *cobra.Command {
	return tree{failed: failed, dial: (&net.Dialer{}).DialContext}.command(name)
}

// tree is what all commands have in common.
type tree struct {
	failed func(error) error
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
}

func (tr tree) command(name string) *cobra.Command {
	cmd := &cobra.Command{
		Use:           name,
		Short:         "Administration over the wire, with mqadmin's command names and options",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetHelpFunc(treeHelp)
	for _, f := range families() {
		cmd.AddGroup(&cobra.Group{ID: f.title, Title: f.title})
		for _, s := range f.specs {
			cmd.AddCommand(tr.add(s, f.title))
		}
	}
	cmd.AddCommand(tr.authCommand(), helpCommand())
	return cmd
}

// add turns a spec into what cobra runs.
func (tr tree) add(sp spec, group string) *cobra.Command {
	cmd := &cobra.Command{
		Use:               sp.name,
		Short:             sp.short,
		Long:              sp.long,
		GroupID:           group,
		DisableAutoGenTag: true,
		ValidArgsFunction: cobra.NoFileCompletions,
		SilenceUsage:      true,
		SilenceErrors:     true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%s takes options only, and %q is none", sp.name, args[0])
			}
			return nil
		},
	}
	if sp.alias != "" && !strings.EqualFold(sp.alias, sp.name) {
		cmd.Aliases = []string{sp.alias}
	}
	tr.addFlags(sp, cmd)
	cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) { fmt.Fprint(cmd.OutOrStdout(), sp.help(cmd)) })
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := sp.check(cmd.Flags()); err != nil {
			return err
		}
		err := tr.start(sp, cmd)
		if _, ok := err.(usageError); ok || err == nil {
			return err
		}
		return tr.failed(err)
	}
	return cmd
}

// start runs a command whose options are checked.
func (tr tree) start(sp spec, cmd *cobra.Command) error {
	s, err := tr.session(cmd)
	if err != nil {
		return err
	}
	defer s.client.Close()
	err = sp.run(s)
	if end := s.out.close(); err == nil {
		err = end
	}
	return err
}

// usageError is a command line that a command cannot take.
type usageError struct{ text string }

// Error returns the sentence.
func (e usageError) Error() string { return e.text }

// session reads the options that every command has.
func (tr tree) session(cmd *cobra.Command) (*session, error) {
	f := cmd.Flags()
	s := &session{ctx: cmd.Context(), flags: f, out: &output{w: cmd.OutOrStdout()}, errw: cmd.ErrOrStderr(), now: time.Now}
	if s.ctx == nil {
		s.ctx = context.Background()
	}
	switch format, _ := f.GetString(flagOutput); format {
	case "text":
	case "json":
		s.out.json = true
	default:
		return nil, usageError{fmt.Sprintf("--output %s: there are text and json", format)}
	}
	s.timeout, _ = f.GetDuration(flagTimeout)
	if s.timeout <= 0 {
		return nil, usageError{"--timeout must be longer than nothing, like 5s"}
	}
	addrs, _ := f.GetString(flagNamesrv)
	if own := f.Lookup("nameserverAddr"); own != nil && own.Changed {
		addrs = own.Value.String()
	}
	if addrs == "" && !f.Changed(flagNamesrv) {
		addrs = namesrvDefault()
	}
	for _, addr := range strings.FieldsFunc(addrs, func(r rune) bool { return r == ';' || r == ',' || r == ' ' }) {
		if !slices.Contains(s.servers, addr) {
			s.servers = append(s.servers, addr)
		}
	}
	if len(s.servers) == 0 {
		return nil, usageError{"no name server is named; set -n ADDR or NAMESRV_ADDR"}
	}
	var err error
	if s.keys, err = findCredentials(f, os.Getenv); err != nil {
		return nil, err
	}
	opts := remoting.DefaultClientOptions()
	opts.DialTimeout = min(opts.DialTimeout, s.timeout)
	opts.Dial = tr.dial
	if err := useTLS(f, &opts); err != nil {
		return nil, err
	}
	s.client = remoting.NewClient(opts)
	return s, nil
}

// unknownCommand says which command there is not, and which are like it.
func unknownCommand(cmd *cobra.Command, name string) error {
	text := fmt.Sprintf("there is no command %q", name)
	cmd.SuggestionsMinimumDistance = 3
	if like := cmd.SuggestionsFor(name); len(like) > 0 {
		text += "; did you mean " + strings.Join(like, " or ") + "?"
	}
	return usageError{text}
}
