package admin

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/apogee-mq/apogee/auth"
	"github.com/apogee-mq/apogee/codec"
)

// authCommand holds what Apache's mqadmin has no command for.
func (tr tree) authCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "auth",
		Short: "Explain who may do what",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(tr.add(authCheckSpec(), ""))
	return cmd
}

// authArguments is Arguments for `auth check`.
func authArguments(target *cobra.Command, args []string, lead int) ([]string, error) {
	if len(args) < lead+2 || lead > 0 {
		return args, nil
	}
	sub := findCommand(target, args[1])
	if sub == nil {
		return args, nil
	}
	return authCheckSpec().arguments(sub, []string{target.Name(), sub.Name()}, args[2:])
}

func authCheckSpec() spec {
	return spec{name: "check", short: "Explain whether a user may do something, and by which entry of which policy", run: authCheck,
		long: "Users and policies are read from a broker (-b) or from the folder of a store (-d), whose broker may run or not. What is asked about is " +
			"a request by its name or number (-r pull_message) or actions (-a), on a topic (-t), a group (-g), both, or else the cluster.",
		oneOf: [][]string{{"brokerAddr", "dir"}, {"request", "actions"}},
		options: []option{
			text("b", "brokerAddr", "ADDR", "broker to ask, host:port").completed(completeBrokers),
			text("d", "dir", "DIR", "storePathRootDir of a broker, or the folder that holds its auth.json"),
			text("", "keyFile", "FILE", "the key of the secrets, where authSecretKeyFile names another than auth.key"),
			text("u", "username", "NAME", "who").must(),
			text("r", "request", "NAME", "name or number of a request, as logs and metrics show it"),
			text("a", "actions", "LIST", "Pub, Sub, Create, Update, Delete, Get, List, separated by commas; one of them suffices"),
			text("t", "topic", "NAME", "on which topic"),
			text("g", "group", "NAME", "on which group"),
			text("c", "clusterName", "NAME", "the broker's cluster; else DefaultCluster"),
			text("i", "sourceIp", "IP", "from where; else from 127.0.0.1"),
		}}
}

// authCheck explains a decision.
func authCheck(s *session) error {
	q := auth.Question{Topic: s.text("topic"), Group: s.text("group"), Cluster: s.textOr("clusterName", "DefaultCluster"),
		Actions: commaList(s.text("actions"))}
	var err error
	if q.From, err = netip.ParseAddr(s.textOr("sourceIp", "127.0.0.1")); err != nil {
		return usageError{fmt.Sprintf("--sourceIp %s is no IP address", s.text("sourceIp"))}
	}
	if name := s.text("request"); name != "" {
		code, ok := auth.RequestCode(name)
		if n, err := strconv.ParseInt(name, 10, 32); err == nil {
			code, ok = int32(n), true
		}
		if !ok {
			return usageError{fmt.Sprintf("--request %s is no request that needs a right", name)}
		}
		q.Code = code
	}
	info, policies, err := s.userAndPolicies(s.text("username"))
	if err != nil {
		return err
	}
	x, err := auth.Explain(info, policies, &q)
	if err != nil {
		return err
	}
	s.sayExplanation(info, &x)
	if s.result(x); !x.Allowed {
		return errDenied
	}
	return nil
}

// errDenied makes the exit code of a denial 1.
var errDenied = errors.New("denied")

// userAndPolicies reads what is known of a user, on disk or from a broker.
func (s *session) userAndPolicies(name string) (info codec.UserInfo, policies []codec.PolicyInfo, err error) {
	if s.given("dir") {
		config := auth.Config{}
		dir := config.Dir(s.text("dir"))
		info, policies, err = auth.ReadUser(dir, s.text("keyFile"), name)
		if err != nil {
			var other error
			if info, policies, other = auth.ReadUser(s.text("dir"), s.text("keyFile"), name); other == nil {
				err = nil
			}
		}
		return info, policies, err
	}
	addr := s.text("brokerAddr")
	resp, err := s.broker(addr, request(codec.AuthGetUser, "username", name))
	if err != nil || len(resp.Body) == 0 {
		return info, nil, err
	}
	if err := codec.UnmarshalJSON(resp.Body, &info); err != nil {
		return info, nil, fmt.Errorf("answer of %s: %w", addr, err)
	}
	if resp, err = s.broker(addr, request(codec.AuthGetACL, "subject", "User:"+name)); err != nil || len(resp.Body) == 0 {
		return info, nil, err
	}
	var acl codec.ACLInfo
	if err := codec.UnmarshalJSON(resp.Body, &acl); err != nil {
		return info, nil, fmt.Errorf("answer of %s: %w", addr, err)
	}
	return info, acl.Policies, nil
}

func (s *session) sayExplanation(info codec.UserInfo, x *auth.Explanation) {
	if info.Username != "" {
		s.say("%-10s%s  %s  %s\n", "user", info.Username, info.UserType, info.UserStatus)
	}
	for _, step := range x.Steps {
		s.say("%-10s%s  %s\n", "needs", step.Resource, step.Actions)
		switch {
		case step.Policy == "":
			s.say("%-10s%s\n", "", "no entry matches")
		default:
			from := "from everywhere"
			if len(step.Entry.SourceIPs) > 0 {
				from = "from " + strings.Join(step.Entry.SourceIPs, ",")
			}
			s.say("%-10s%s policy: %s  %s  %s  %s\n", "", step.Policy, step.Entry.Resource, strings.Join(step.Entry.Actions, ","), from, step.Entry.Decision)
		}
	}
	decision := "denied"
	if x.Allowed {
		decision = "allowed"
	}
	s.say("%-10s%s: %s\n", "decision", decision, x.Reason)
}
