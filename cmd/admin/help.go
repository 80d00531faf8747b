package admin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// helpCommand is `mqadmin help [command]`.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Show the commands, or the options of one",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, c := range cmd.Parent().Commands() {
				if len(args) == 0 && strings.HasPrefix(c.Name(), begun) {
					names = append(names, c.Name())
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Parent().Help()
			}
			target := findCommand(cmd.Parent(), args[0])
			if target == nil {
				return unknownCommand(cmd.Parent(), args[0])
			}
			target.InitDefaultHelpFlag()
			return target.Help()
		},
	}
}

// treeHelp prints the commands by family.
func treeHelp(cmd *cobra.Command, _ []string) {
	w := cmd.OutOrStdout()
	path := cmd.CommandPath()
	if cmd.HasParent() && cmd.GroupID == "" && cmd.Name() != "admin" { // help, completion
		fmt.Fprintf(w, "%s\n\n%s", cmd.Short, cmd.UsageString())
		return
	}
	fmt.Fprintf(w, "Administration of RocketMQ name servers and brokers, Apogee's and Apache's.\n\nUsage:\n  %s COMMAND [-n ADDR;ADDR] [options]\n", path)
	for _, f := range families() {
		fmt.Fprintf(w, "\n%s:\n", f.title)
		for _, sp := range f.specs {
			fmt.Fprintf(w, "  %-34s %s\n", sp.name, sp.short)
		}
	}
	fmt.Fprintf(w, "\nSee '%s help COMMAND' for the options of one. -o json (--output json where -o means something else) prints JSON.\n", path)
	fmt.Fprintf(w, "'%s completion bash' (zsh, fish) prints what the shell needs to complete commands, topics and clusters.\n", cmd.Root().Name())
}

// help returns the page of one command.
func (sp spec) help(cmd *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n", sp.short)
	if sp.long != "" {
		fmt.Fprintf(&b, "\n%s\n", sp.long)
	}
	fmt.Fprintf(&b, "\nUsage:\n  %s%s\n", cmd.CommandPath(), sp.usage())
	if len(sp.options) > 0 {
		b.WriteString("\nOptions:\n")
		for _, o := range sp.options {
			writeOption(&b, o)
		}
	}
	b.WriteString("\nOptions of every command:\n")
	for _, o := range sp.commonOptions() {
		if o.value != "" {
			o.usage += fmt.Sprintf(" (default %s)", o.value)
		}
		o.value = strings.ToUpper(map[string]string{flagNamesrv: "addr;addr", flagOutput: "format", flagAccessKey: "name"}[o.name])
		if o.value == "" {
			o.value = "TEXT"
		}
		writeOption(&b, o)
	}
	writeOption(&b, option{name: flagTLS, usage: tlsUsage, kind: kindSwitch})
	writeOption(&b, option{name: flagTLSTrust, value: "FILE", usage: tlsTrustUsage})
	writeOption(&b, option{name: flagTimeout, value: "TIME", usage: fmt.Sprintf("how long one request may take (default %s)", defaultTimeout)})
	writeOption(&b, option{letters: "h", name: "help", usage: "show this", kind: kindSwitch})
	return b.String()
}

// usage is the line of a command's own options.
func (sp spec) usage() string {
	var b strings.Builder
	var grouped []string
	for _, group := range slices.Concat(sp.oneOf, sp.anyOf) {
		var either []string
		for _, name := range group {
			either = append(either, sp.find(name).word())
		}
		grouped = append(grouped, group...)
		fmt.Fprintf(&b, " (%s)", strings.Join(either, " | "))
	}
	for _, o := range sp.options {
		switch {
		case slices.Contains(grouped, o.name):
		case o.required:
			fmt.Fprintf(&b, " %s", o.word())
		default:
			fmt.Fprintf(&b, " [%s]", o.word())
		}
	}
	return b.String()
}

// word is the option with its value.
func (o option) word() string {
	if o.kind == kindSwitch {
		return o.shown()
	}
	return o.shown() + " " + o.value
}

func writeOption(b *strings.Builder, o option) {
	left := "    --" + o.name
	if o.letters != "" {
		left = fmt.Sprintf("%3s, --%s", "-"+o.letters, o.name)
	}
	if o.value != "" && o.kind != kindSwitch {
		left += " " + o.value
	}
	usage := o.usage
	if len(o.choices) > 0 {
		usage += " (" + strings.Join(o.choices, ", ") + ")"
	}
	if o.required {
		usage += " (required)"
	}
	if len(left) > 34 {
		fmt.Fprintf(b, "  %s\n  %-34s  %s\n", left, "", usage)
		return
	}
	fmt.Fprintf(b, "  %-34s  %s\n", left, usage)
}
