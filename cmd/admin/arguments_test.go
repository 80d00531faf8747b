package admin

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestArguments(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, in, want, err string }{
		{"short options", "sendMessage -t T -p x", "sendMessage --topic=T --body=x", ""},
		{"the name in any case", "SENDMESSAGE -t T", "sendMessage --topic=T", ""},
		{"long options", "sendMessage --topic T --body=x", "sendMessage --topic=T --body=x", ""},
		{"long options with one dash", "sendMessage -topic T -body=x", "sendMessage --topic=T --body=x", ""},
		{"shortened long options", "sendMessage -top T --bod x", "sendMessage --topic=T --body=x", ""},
		{"a value right behind the letter", "sendMessage -tT -p=x", "sendMessage --topic=T --body=x", ""},
		{"a value that looks like an option", "sendMessage -t T -p -x", "sendMessage --topic=T --body=-x", ""},
		{"common options", "sendMessage -n a:1;b:2 -o json -h", "sendMessage --namesrvAddr=a:1;b:2 --output=json --help", ""},
		{"a word that is no option", "sendMessage T", "sendMessage T", ""},
		{"help", "help sendMessage", "help sendMessage", ""},
		{"completion", "__complete sendMessage -t ", "__complete sendMessage -t ", ""},
		{"no value", "sendMessage -t", "", "-t (topic) wants a value"},
		{"unknown option", "sendMessage --nothing 1", "", "sendMessage has no option --nothing"},
		{"unknown letter", "sendMessage -z 1", "", "sendMessage has no option -z"},
		{"two options begin so", "sendMessage --se 1", "", "se may be --secretKey or --securityToken"},
		{"unknown command", "sendMessag -t T", "", `there is no command "sendMessag"; did you mean sendMessage?`},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := Command("mqadmin", func(err error) error { return err })
			got, err := Arguments(cmd, strings.Split(test.in, " "))
			if test.err != "" {
				require.EqualError(t, err, test.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, strings.Join(got, " "))
		})
	}
}

func TestBadOptionsAreRefusedBeforeAnythingIsAsked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, in, err string }{
		{"missing", "sendMessage -t T", "sendMessage needs -p (body)"},
		{"several missing", "sendMessage", "sendMessage needs -t (topic) and -p (body)"},
		{"empty", "sendMessage -t= -p x", "-t (topic) must not be empty"},
		{"no number", "sendMessage -t T -p x -i one", `-i (qid) wants a whole number, not "one"`},
		{"a number too large", "sendMessage -t T -p x -i 4294967296", `-i (qid) wants a whole number, not "4294967296"`},
		{"neither true nor false", "sendMessage -t T -p x -m yes", `-m (msgTraceEnable) is true or false, not "yes"`},
		{"no action", "createAcl -b 127.0.0.1:1 -s User:a -r Topic:T -a pub,Fly -d Allow", "-a (actions) Fly is none of All, Pub, Sub, Create, Update, Delete, Get and List"},
		{"no decision", "createAcl -b 127.0.0.1:1 -s User:a -r Topic:T -a Pub -d Maybe", "-d (decision) is Allow or Deny, not Maybe"},
		{"a word", "sendMessage -t T -p x y", `sendMessage takes options only, and "y" is none`},
		{"unknown format", "sendMessage -t T -p x -o xml", "--output xml: there are text and json"},
		{"half a key", "sendMessage -t T -p x --accessKey me", "signing needs both --accessKey and --secretKey"},
		{"no address", "sendMessage -t T -p x -n nowhere", `find topic T: no name server answers at nowhere: "nowhere" is no address; ` +
			`one looks like 127.0.0.1:10911; set -n or NAMESRV_ADDR`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := runCommand(t, strings.Split(test.in, " ")...)
			require.EqualError(t, err, test.err)
		})
	}
}

// runCommand runs a command line and returns what it shows.
func runCommand(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return runAgainst(t, (&net.Dialer{}).DialContext, args...)
}

// runAgainst is runCommand with another way to open connections.
func runAgainst(t *testing.T, dial func(context.Context, string, string) (net.Conn, error), args ...string) (string, error) {
	t.Helper()
	cmd := tree{func(err error) error { return err }, dial}.command("mqadmin")
	args, err := Arguments(cmd, args)
	if err != nil {
		return "", err
	}
	var out, said strings.Builder
	cmd.SetOut(&out)
	cmd.SetErr(&said)
	cmd.SetArgs(args)
	cmd.SetContext(t.Context())
	err = cmd.Execute()
	return out.String(), err
}
