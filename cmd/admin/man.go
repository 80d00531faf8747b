package admin

import (
	"fmt"
	"io"
	"strings"
)

// WriteMan writes the manual page of mqadmin, made from the same rows as the commands. A viewer is `man -l FILE`.
func WriteMan(w io.Writer, version string) error {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH MQADMIN 1 \"\" \"Apogee %s\" \"User Commands\"\n", version)
	b.WriteString(".SH NAME\nmqadmin \\- administration of RocketMQ name servers and brokers\n.SH SYNOPSIS\n")
	b.WriteString(".B mqadmin\n.I COMMAND\n.RB [ \\-n\n.IR ADDR;ADDR ]\n.RI [ options ]\n.br\n.B mqadmin help\n.RI [ COMMAND ]\n.br\n.B apogee admin\n.I COMMAND\n...\n")
	b.WriteString(".SH DESCRIPTION\nCommands and options are those of Apache RocketMQ's mqadmin 5.5. They are sent over the wire, to Apogee's servers and to Apache's. " +
		"Long options may be shortened and may have one dash. " +
		"A command prints what Apache's prints; an error is one sentence on the standard error.\n")
	b.WriteString(".SH OPTIONS OF EVERY COMMAND\n")
	b.WriteString(option{name: flagTLS, usage: tlsUsage, kind: kindSwitch}.man() + option{name: flagTLSTrust, value: "FILE", usage: tlsTrustUsage}.man())
	for _, o := range append(spec{}.commonOptions(), option{name: flagTimeout, value: defaultTimeout.String(), usage: "how long one request may take"}) {
		if o.value != "" && o.name != flagNamesrv {
			o.usage += " (default " + o.value + ")"
		}
		o.value = "VALUE"
		b.WriteString(o.man())
	}
	for _, f := range families() {
		fmt.Fprintf(&b, ".SH %s\n", strings.ToUpper(f.title))
		for _, sp := range f.specs {
			fmt.Fprintf(&b, ".SS %s\n.B %s\n%s\n.PP\n%s.\n", sp.name, sp.name, roff(strings.TrimSpace(sp.usage())), roff(sp.short))
			if sp.long != "" {
				fmt.Fprintf(&b, "%s\n", roff(sp.long))
			}
			for _, o := range sp.options {
				b.WriteString(o.man())
			}
		}
	}
	b.WriteString(".SH EXIT STATUS\n0 done, 1 a server refused or could not be reached, 2 the command line is wrong and nothing was asked.\n")
	b.WriteString(".SH ENVIRONMENT\nNAMESRV_ADDR, APOGEE_ACCESS_KEY, APOGEE_SECRET_KEY, ROCKETMQ_HOME.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// man is the paragraph of one option.
func (o option) man() string {
	names := "\\-\\-" + roff(o.name)
	if o.letters != "" {
		names = "\\-" + o.letters + ", " + names
	}
	value := ""
	if o.kind != kindSwitch {
		value = " \\fI" + roff(o.value) + "\\fR"
	}
	usage := o.usage
	if len(o.choices) > 0 {
		usage += " (" + strings.Join(o.choices, ", ") + ")"
	}
	if o.required {
		usage += " (required)"
	}
	return fmt.Sprintf(".TP\n\\fB%s\\fR%s\n%s\n", names, value, roff(usage))
}

// roff escapes text for a manual page.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
