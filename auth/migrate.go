package auth

import (
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// migrate makes users of the accounts of ACL 1.0, those that are not there yet. An account that cannot become a user is logged
// and left out. Apache: AuthMigrator.
func (g *Guard) migrate() error {
	accounts, err := readPlainAccounts(g.opts.Home)
	if err != nil {
		return err
	}
	made := 0
	for i := range accounts {
		a := &accounts[i]
		if a.AccessKey == "" || g.book.find([]byte(a.AccessKey)) != nil {
			continue
		}
		info := codec.UserInfo{Username: a.AccessKey, Password: a.SecretKey, UserType: "Normal"}
		if a.Admin {
			info.UserType = "Super"
		}
		if err := g.book.createUser(info); err != nil {
			g.opts.Logger.Error("account of plain_acl.yml is not migrated", "user", a.AccessKey, "err", err)
			continue
		}
		made++
		if policies := a.policies(); len(policies) > 0 {
			if err := g.book.putACL(a.AccessKey, policies); err != nil {
				g.opts.Logger.Error("permissions of plain_acl.yml are not migrated", "user", a.AccessKey, "err", err)
			}
		}
		if a.WhiteRemoteAddress != "" {
			g.opts.Logger.Warn("whiteRemoteAddress is not migrated: ACL 2.0 asks everybody for a signature", "user", a.AccessKey)
		}
	}
	if made > 0 {
		g.opts.Logger.Info("accounts of plain_acl.yml became users", "count", made)
	}
	return nil
}

// policies are the permissions of an account as entries.
func (a *plainAccount) policies() []codec.PolicyInfo {
	var custom, byDefault codec.PolicyInfo
	custom.PolicyType, byDefault.PolicyType = policyNames[policyCustom], policyNames[policyDefault]
	add := func(kind Kind, perms []string) {
		for _, perm := range perms {
			if name, value, ok := strings.Cut(perm, "="); ok && strings.TrimSpace(name) != "" && !strings.Contains(name, "*") && !strings.Contains(value, "=") {
				name = strings.TrimSpace(name)
				custom.Entries = append(custom.Entries, migratedEntry(kind.String()+":"+name, value))
			}
		}
	}
	add(KindTopic, a.TopicPerms)
	add(KindGroup, a.GroupPerms)
	if strings.TrimSpace(a.DefaultTopicPerm) != "" {
		byDefault.Entries = append(byDefault.Entries, migratedEntry("Topic:*", a.DefaultTopicPerm))
	}
	if strings.TrimSpace(a.DefaultGroupPerm) != "" {
		byDefault.Entries = append(byDefault.Entries, migratedEntry("Group:*", a.DefaultGroupPerm))
	}
	var policies []codec.PolicyInfo
	for _, p := range []codec.PolicyInfo{custom, byDefault} {
		if len(p.Entries) > 0 {
			policies = append(policies, p)
		}
	}
	return policies
}

// migratedEntry turns DENY, PUB, SUB or PUB|SUB into an entry. What is none of these denies, as in ACL 1.0 (Java's migration allows
// everything then).
func migratedEntry(resource, perm string) codec.PolicyEntryInfo {
	e := codec.PolicyEntryInfo{Resource: resource, Decision: "Allow"}
	p := parsePerm(perm)
	if p&permPub != 0 {
		e.Actions = append(e.Actions, "Pub")
	}
	if p&permSub != 0 {
		e.Actions = append(e.Actions, "Sub")
	}
	if p&permDeny != 0 {
		e.Actions, e.Decision = []string{"All"}, "Deny"
	}
	return e
}
