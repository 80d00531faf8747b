package admin

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Arguments turns a command line in the ways of Apache's mqadmin into one that cobra reads: command names in any case, long options
// with one dash, shortened long options, short options of two letters. cmd is what Command has returned. Apache: DefaultParser of
// commons-cli.
func Arguments(cmd *cobra.Command, args []string) ([]string, error) {
	lead := 0
	completing := len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd)
	if completing {
		lead = 1
	}
	if len(args) <= lead {
		return args, nil
	}
	target := findCommand(cmd, args[lead])
	switch {
	case target != nil && target.HasSubCommands():
		return authArguments(target, args, lead)
	case target != nil && target.Name() != "help" && target.Name() != "completion":
	case target == nil && !completing && args[0] != "" && args[0][0] != '-' && args[0] != "completion":
		return nil, unknownCommand(cmd, args[0])
	default:
		return args, nil
	}
	out := append(append([]string(nil), args[:lead]...), target.Name())
	rest := args[lead+1:]
	if completing && len(rest) > 0 {
		return append(out, rest...), nil
	}
	return specOf(target.Name()).arguments(target, out, rest)
}

// arguments appends the options of a command to out, as cobra reads them.
func (sp spec) arguments(target *cobra.Command, out, rest []string) ([]string, error) {
	for i := 0; i < len(rest); i++ {
		if len(rest[i]) < 2 || rest[i][0] != '-' || rest[i] == "--" {
			out = append(out, rest[i])
			continue
		}
		flag, value, inline, err := sp.resolve(target.Flags(), rest[i])
		switch {
		case err != nil:
			return nil, err
		case flag == nil: // letters without a value, one after the other
			out = append(out, rest[i])
		case inline:
			out = append(out, "--"+flag.Name+"="+value)
		case flag.NoOptDefVal != "":
			out = append(out, "--"+flag.Name)
		case i+1 == len(rest):
			return nil, usageError{fmt.Sprintf("%s (%s) wants a value", rest[i], flag.Name)}
		default:
			i++
			out = append(out, "--"+flag.Name+"="+rest[i])
		}
	}
	return out, nil
}

// HelpFor names the call that shows the help to a command line.
func HelpFor(who string, args []string) string {
	if len(args) > 0 && specOf(args[0]).run != nil {
		return who + " help " + args[0]
	}
	return who + " help"
}

// findCommand looks a command up by name or alias in any case.
func findCommand(cmd *cobra.Command, name string) *cobra.Command {
	for _, c := range cmd.Commands() {
		if strings.EqualFold(c.Name(), name) {
			return c
		}
		for _, alias := range c.Aliases {
			if strings.EqualFold(alias, name) {
				return c
			}
		}
	}
	return nil
}

// specOf returns the spec of a command, an empty one if there is none.
func specOf(name string) spec {
	for _, f := range families() {
		for _, sp := range f.specs {
			if sp.name == name {
				return sp
			}
		}
	}
	return spec{name: name}
}

// resolve finds the option that a word means, and the value when the word holds it.
func (sp spec) resolve(f *pflag.FlagSet, word string) (flag *pflag.Flag, value string, inline bool, err error) {
	twoDashes := strings.HasPrefix(word, "--")
	name, value, inline := strings.Cut(strings.TrimLeft(word, "-"), "=")
	if !twoDashes {
		if o := sp.find(name); o != nil && o.letters == name {
			return f.Lookup(o.name), value, inline, nil
		}
		if len(name) == 1 {
			if flag := f.ShorthandLookup(name); flag != nil {
				return flag, value, inline, nil
			}
		}
	}
	if flag, err := lookLong(f, name); flag != nil || err != nil {
		return flag, value, inline, err
	}
	if first := f.ShorthandLookup(name[:min(1, len(name))]); !twoDashes && len(name) > 1 && name[0] < 0x80 && first != nil {
		if first.NoOptDefVal != "" {
			return nil, "", false, nil
		}
		return first, word[2:], true, nil
	}
	return nil, "", false, usageError{fmt.Sprintf("%s has no option %s", sp.name, word)}
}

// lookLong finds a long option by its name or by the beginning of it.
func lookLong(f *pflag.FlagSet, name string) (*pflag.Flag, error) {
	if flag := f.Lookup(name); flag != nil {
		return flag, nil
	}
	if len(name) < 2 {
		return nil, nil
	}
	var found []*pflag.Flag
	f.VisitAll(func(flag *pflag.Flag) {
		if strings.HasPrefix(flag.Name, name) {
			found = append(found, flag)
		}
	})
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return found[0], nil
	}
	return nil, usageError{fmt.Sprintf("%s may be --%s or --%s", name, found[0].Name, found[1].Name)}
}
