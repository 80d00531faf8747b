package admin

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Options that every command has.
const (
	flagNamesrv   = "namesrvAddr"
	flagOutput    = "output"
	flagTimeout   = "timeout"
	flagAccessKey = "accessKey"
	flagSecretKey = "secretKey"
	flagToken     = "securityToken"
	flagTLS       = "tls"
	flagTLSTrust  = "tlsTrust"
)

// kind says what the value of an option has to be.
type kind int

const (
	kindText kind = iota
	kindInt32
	kindInt64
	kindBool   // true or false, as a value
	kindSwitch // no value
)

// option is one option of a command, as Apache names it.
type option struct {
	letters  string // Apache's short name, one or two letters; empty when it has a long one only
	name     string
	value    string // what the help calls the value
	usage    string
	kind     kind
	required bool
	choices  []string // what a text may be, empty for anything
	complete completer
}

func text(letters, name, value, usage string) option {
	return option{letters: letters, name: name, value: value, usage: usage}
}

// number is a 32-bit number, long a 64-bit one.
func number(letters, name, value, usage string) option {
	return option{letters: letters, name: name, value: value, usage: usage, kind: kindInt32}
}

func long(letters, name, value, usage string) option {
	return option{letters: letters, name: name, value: value, usage: usage, kind: kindInt64}
}

func boolean(letters, name, usage string) option {
	return option{letters: letters, name: name, value: "true|false", usage: usage, kind: kindBool}
}

func toggle(letters, name, usage string) option {
	return option{letters: letters, name: name, usage: usage, kind: kindSwitch}
}

// must makes an option required.
func (o option) must() option {
	o.required = true
	return o
}

// of limits a text to some values.
func (o option) of(choices ...string) option {
	o.choices = choices
	return o
}

// shown is the option as a message names it.
func (o option) shown() string {
	if o.letters == "" {
		return "--" + o.name
	}
	return "-" + o.letters
}

// check holds a given value against the option.
func (o option) check(value string) error {
	value = strings.TrimSpace(value)
	var err error
	switch o.kind {
	case kindInt32:
		_, err = strconv.ParseInt(value, 10, 32)
	case kindInt64:
		_, err = strconv.ParseInt(value, 10, 64)
	case kindBool:
		if !strings.EqualFold(value, "true") && !strings.EqualFold(value, "false") {
			return usageError{fmt.Sprintf("%s (%s) is true or false, not %q", o.shown(), o.name, value)}
		}
	case kindText:
		switch {
		case value == "" && o.required:
			return usageError{fmt.Sprintf("%s (%s) must not be empty", o.shown(), o.name)}
		case len(o.choices) > 0 && !slices.Contains(o.choices, value):
			return usageError{fmt.Sprintf("%s (%s) is %s, not %q", o.shown(), o.name, strings.Join(o.choices, " or "), value)}
		}
	}
	if err != nil {
		return usageError{fmt.Sprintf("%s (%s) wants a whole number, not %q", o.shown(), o.name, value)}
	}
	return nil
}

// addFlags declares the options of a command, its own and those of all.
func (tr tree) addFlags(sp spec, cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	for _, o := range sp.options {
		letter := ""
		if len(o.letters) == 1 {
			letter = o.letters
		}
		if o.kind == kindSwitch {
			f.BoolP(o.name, letter, false, o.usage)
		} else {
			f.StringP(o.name, letter, "", o.usage)
		}
		tr.addCompletion(o, cmd)
	}
	for _, o := range sp.commonOptions() {
		f.StringP(o.name, o.letters, o.value, o.usage)
	}
	f.Bool(flagTLS, false, tlsUsage)
	f.String(flagTLSTrust, "", tlsTrustUsage)
	f.Duration(flagTimeout, defaultTimeout, "how long one request may take")
	f.BoolP("help", "h", false, "show this")
	_ = cmd.RegisterFlagCompletionFunc(flagOutput, cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

// What the two options of TLS do.
const (
	tlsUsage      = "use TLS; also by -Dtls.enable=true in JAVA_OPT, with Apache's other tls.client keys"
	tlsTrustUsage = "certificates of which the server's has to be one or signed by one; without it any is taken"
)

// commonOptions are those that every command has; value is their default here.
func (sp spec) commonOptions() []option {
	all := []option{
		{name: flagOutput, value: "text", usage: "text, or json for programs"},
		{name: flagAccessKey, usage: "sign requests as this user; else APOGEE_ACCESS_KEY, else $ROCKETMQ_HOME/conf/tools.yml"},
		{name: flagSecretKey, usage: "that user's secret; else APOGEE_SECRET_KEY, else tools.yml"},
		{name: flagToken, usage: "a temporary user's token"},
	}
	if !sp.has("o") {
		all[0].letters = "o"
	}
	if sp.find("namesrvAddr") == nil {
		first := option{letters: "n", name: flagNamesrv, value: namesrvDefault(), usage: "name servers, separated by \";\"; else NAMESRV_ADDR"}
		if sp.has("n") {
			first.letters = ""
		}
		all = slices.Insert(all, 0, first)
	}
	return all
}

// namesrvDefault is asked when no option names a name server.
func namesrvDefault() string { return cmp.Or(os.Getenv("NAMESRV_ADDR"), defaultNamesrv) }

// has says whether Apache's command has an option of these letters.
func (sp spec) has(letters string) bool {
	return slices.ContainsFunc(sp.options, func(o option) bool { return o.letters == letters })
}

// find returns the option of a name.
func (sp spec) find(name string) *option {
	for i := range sp.options {
		if sp.options[i].name == name || sp.options[i].letters == name {
			return &sp.options[i]
		}
	}
	return nil
}

// check holds the given options against the spec, before anything is asked or changed.
func (sp spec) check(f *pflag.FlagSet) error {
	var missing []string
	for _, o := range sp.options {
		switch given := f.Changed(o.name); {
		case !given && o.required:
			missing = append(missing, fmt.Sprintf("%s (%s)", o.shown(), o.name))
		case given && o.kind != kindSwitch:
			value, _ := f.GetString(o.name)
			if err := o.check(value); err != nil {
				return err
			}
		}
	}
	if len(missing) > 0 {
		return usageError{sp.name + " needs " + strings.Join(missing, " and ")}
	}
	for _, group := range sp.oneOf {
		if n := sp.count(f, group); n != 1 {
			return usageError{sp.name + " needs " + sp.either(group) + map[bool]string{true: ", and only one of them"}[n > 1]}
		}
	}
	for _, group := range sp.anyOf {
		if sp.count(f, group) == 0 {
			return usageError{sp.name + " needs " + sp.either(group)}
		}
	}
	return nil
}

func (sp spec) count(f *pflag.FlagSet, group []string) int {
	n := 0
	for _, name := range group {
		if f.Changed(name) {
			n++
		}
	}
	return n
}

// either names the options of a group.
func (sp spec) either(group []string) string {
	var names []string
	for _, name := range group {
		names = append(names, fmt.Sprintf("%s (%s)", sp.find(name).shown(), name))
	}
	return strings.Join(names, " or ")
}
