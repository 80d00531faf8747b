package admin

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

func aclCommands() []spec {
	rule := func(verb string) []option {
		return append(everyBrokerOrCluster(verb),
			text("s", "subject", "SUBJECT", "whom it concerns, User:NAME").must(),
			text("r", "resources", "LIST", "what it concerns, Topic:NAME or Group:NAME, separated by commas; * ends a prefix").must(),
			text("a", "actions", "LIST", "All, Pub, Sub, Create, Update, Delete, Get, List, separated by commas").must(),
			text("i", "sourceIp", "LIST", "from where, addresses and networks separated by commas; else from everywhere"),
			text("d", "decision", "DECISION", "Allow or Deny").must())
	}
	return []spec{
		{name: "createAcl", short: "Create a rule of who may do what", oneOf: byBrokerOrCluster(), options: rule("create it on"),
			run: func(s *session) error { return putACL(s, "create acl to %s success.", codec.AuthCreateACL) }},
		{name: "updateAcl", short: "Change a rule of who may do what", oneOf: byBrokerOrCluster(), options: rule("change it on"),
			run: func(s *session) error { return putACL(s, "update acl to %s success.", codec.AuthUpdateACL) }},
		{name: "deleteAcl", short: "Delete rules of a subject", oneOf: byBrokerOrCluster(), run: deleteACL, options: append(everyBrokerOrCluster("delete them on"),
			text("s", "subject", "SUBJECT", "whom they concern, User:NAME").must(),
			text("r", "resources", "RESOURCE", "the one of this resource; else all"))},
		{name: "getAcl", short: "Show what a subject may do", oneOf: byBrokerOrCluster(), run: getACL,
			options: append(brokerOrCluster("ask"), text("s", "subject", "SUBJECT", "whom it concerns, User:NAME"))},
		{name: "listAcl", short: "List who may do what", oneOf: byBrokerOrCluster(), run: listACL, options: append(brokerOrCluster("ask"),
			text("s", "subject", "TEXT", "only subjects that hold this"), text("r", "resource", "TEXT", "only resources that hold this"))},
		{name: "copyAcl", short: "Copy rules from one broker to another", run: copyACL, options: []option{
			text("f", "fromBroker", "ADDR", "broker to copy from, host:port").must().completed(completeBrokers),
			text("t", "toBroker", "ADDR", "broker to copy to, host:port").must().completed(completeBrokers),
			text("s", "subjects", "SUBJECTS", "subjects, separated by commas; else all")}},
	}
}

// putACL creates or changes a rule. Apache: CreateAclSubCommand, UpdateAclSubCommand, AclInfo.of.
func putACL(s *session, done string, code int32) error {
	a := codec.ACLInfo{Subject: s.text("subject")}
	for _, action := range commaList(s.text("actions")) {
		if !oneOfWords(action, "All", "Any", "Pub", "Sub", "Create", "Update", "Delete", "Get", "List") {
			return usageError{fmt.Sprintf("-a (actions) %s is none of All, Pub, Sub, Create, Update, Delete, Get and List", action)}
		}
	}
	if decision := s.text("decision"); !oneOfWords(decision, "Allow", "Deny") {
		return usageError{fmt.Sprintf("-d (decision) is Allow or Deny, not %s", decision)}
	}
	var entries []codec.PolicyEntryInfo
	for _, resource := range commaList(s.text("resources")) {
		entries = append(entries, codec.PolicyEntryInfo{Resource: resource, Actions: commaList(s.text("actions")),
			SourceIPs: commaList(s.text("sourceIp")), Decision: s.text("decision")})
	}
	a.Policies = []codec.PolicyInfo{{Entries: entries}}
	return s.changeAuth(done, func() (*codec.Command, error) {
		return withBody(request(code, "subject", a.Subject), a)
	})
}

// oneOfWords compares as Java does, without case.
func oneOfWords(word string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, word) })
}

// deleteACL deletes rules. Apache: DeleteAclSubCommand.
func deleteACL(s *session) error {
	return s.changeAuth("delete acl to %s success.", func() (*codec.Command, error) {
		return request(codec.AuthDeleteACL, "subject", s.text("subject"), "resource", s.optional("resources")), nil
	})
}

// getACL shows the rules of a subject. Apache: GetAclSubCommand, which says nothing when there are none.
func getACL(s *session) error {
	addrs, err := s.targets()
	if err != nil {
		return err
	}
	any := false
	for _, addr := range addrs {
		var a codec.ACLInfo
		found, err := s.authBody(addr, request(codec.AuthGetACL, "subject", s.optional("subject")), &a)
		if err != nil {
			return err
		}
		if found {
			s.showACLs([]codec.ACLInfo{a})
			any = true
		}
	}
	if !any {
		return fmt.Errorf("there are no rules for %s", s.text("subject"))
	}
	return nil
}

// listACL lists rules. Apache: ListAclSubCommand.
func listACL(s *session) error {
	addrs, err := s.targets()
	if err != nil {
		return err
	}
	s.list()
	for _, addr := range addrs {
		var acls []codec.ACLInfo
		_, err := s.authBody(addr, request(codec.AuthListACL, "subjectFilter", s.optional("subject"), "resourceFilter", s.optional("resource")), &acls)
		if err != nil {
			return err
		}
		if len(acls) > 0 {
			s.showACLs(acls)
		}
	}
	return nil
}

// showACLs prints one line a rule.
func (s *session) showACLs(acls []codec.ACLInfo) {
	t := s.table("%-16s  %-10s  %-22s  %-20s  %-24s  %-10s", column{"#Subject", "subject"}, column{"#PolicyType", "policyType"},
		column{"#Resource", "resource"}, column{"#Actions", "actions"}, column{"#SourceIp", "sourceIps"}, column{"#Decision", "decision"})
	for _, a := range acls {
		if len(a.Policies) == 0 {
			t.row(a.Subject, "", "", shown{nil, ""}, shown{nil, ""}, "")
		}
		for _, p := range a.Policies {
			for _, e := range p.Entries {
				ips := "null"
				if e.SourceIPs != nil {
					ips = javaList(e.SourceIPs)
				}
				t.row(a.Subject, p.PolicyType, e.Resource, shown{e.Actions, javaList(e.Actions)}, shown{e.SourceIPs, ips}, e.Decision)
			}
		}
	}
}

// copyACL copies rules. Apache: CopyAclsSubCommand.
func copyACL(s *session) error {
	from, to := s.text("fromBroker"), s.text("toBroker")
	var acls []codec.ACLInfo
	if subjects := commaList(s.text("subjects")); len(subjects) > 0 {
		for _, subject := range subjects {
			var a codec.ACLInfo
			found, err := s.authBody(from, request(codec.AuthGetACL, "subject", subject), &a)
			switch {
			case err != nil:
				return err
			case !found:
				return fmt.Errorf("broker %s has no rules for %s; nothing is copied", from, subject)
			}
			acls = append(acls, a)
		}
	} else if _, err := s.authBody(from, request(codec.AuthListACL), &acls); err != nil {
		return err
	}
	s.list()
	var failed []error
	for _, a := range acls {
		code := codec.AuthUpdateACL
		found, err := s.authBody(to, request(codec.AuthGetACL, "subject", a.Subject), &codec.ACLInfo{})
		if err == nil && !found {
			code = codec.AuthCreateACL
		}
		failed = append(failed, s.copied("acl", a.Subject, from, to, err, func() (*codec.Command, error) {
			return withBody(request(code, "subject", a.Subject), a)
		}))
	}
	return errors.Join(failed...)
}
