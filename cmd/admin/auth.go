package admin

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// user is a user as the broker's requests carry it. Apache: UserInfo. What is empty is left out, as Java's null.
type user struct {
	Password   string `json:"password,omitempty"`
	UserStatus string `json:"userStatus,omitempty"`
	UserType   string `json:"userType,omitempty"`
	Username   string `json:"username,omitempty"`
}

func userCommands() []spec {
	name := text("u", "username", "NAME", "name of the user").must()
	kind := text("t", "userType", "TYPE", "Super or Normal")
	return []spec{
		{name: "createUser", short: "Create a user", oneOf: byBrokerOrCluster(), run: createUser, options: append(everyBrokerOrCluster("create it on"),
			name, text("p", "password", "TEXT", "the password").must(), kind)},
		{name: "updateUser", short: "Change a user", oneOf: append(byBrokerOrCluster(), []string{"password", "userType", "userStatus"}),
			long: "One of -p, -t and -s is changed at a time, as with Apache's command.",
			run:  updateUser, options: append(everyBrokerOrCluster("change it on"), name, text("p", "password", "TEXT", "the new password"), kind,
				text("s", "userStatus", "STATUS", "enable or disable"))},
		{name: "deleteUser", short: "Delete a user", oneOf: byBrokerOrCluster(), options: append(everyBrokerOrCluster("delete it on"), name),
			run: func(s *session) error {
				return s.changeAuth("delete user to %s success.", func() (*codec.Command, error) {
					return request(codec.AuthDeleteUser, "username", s.text("username")), nil
				})
			}},
		{name: "getUser", short: "Show a user", oneOf: byBrokerOrCluster(), run: getUser,
			options: append(brokerOrCluster("ask"), text("u", "username", "NAME", "name of the user"))},
		{name: "listUser", short: "List users", oneOf: byBrokerOrCluster(), run: listUser,
			options: append(brokerOrCluster("ask"), text("f", "filter", "TEXT", "only users whose name holds this"))},
		{name: "copyUser", short: "Copy users from one broker to another", run: copyUser, options: []option{
			text("f", "fromBroker", "ADDR", "broker to copy from, host:port").must().completed(completeBrokers),
			text("t", "toBroker", "ADDR", "broker to copy to, host:port").must().completed(completeBrokers),
			text("u", "usernames", "NAMES", "users, separated by commas; else all")}},
	}
}

// changeAuth sends a change to -b or to every broker of -c, masters and slaves.
func (s *session) changeAuth(done string, make func() (*codec.Command, error)) error {
	addrs := []string{s.text("brokerAddr")}
	if !s.given("brokerAddr") {
		var err error
		if addrs, err = s.everyBroker(s.text("clusterName")); err != nil {
			return err
		}
	}
	return s.each(addrs, func(addr string) string { return fmt.Sprintf(done, addr) }, func(addr string) error {
		c, err := make()
		if err == nil {
			_, err = s.broker(addr, c)
		}
		return err
	})
}

// createUser creates a user. Apache: CreateUserSubCommand.
func createUser(s *session) error {
	u := user{Username: s.text("username"), Password: s.text("password"), UserType: s.text("userType")}
	return s.changeAuth("create user to %s success.", func() (*codec.Command, error) {
		return withBody(request(codec.AuthCreateUser, "username", u.Username), u)
	})
}

// updateUser changes a user. Apache: UpdateUserSubCommand, whose group of options lets one be given.
func updateUser(s *session) error {
	u := user{Username: s.text("username"), Password: s.text("password"), UserType: s.text("userType"), UserStatus: s.text("userStatus")}
	return s.changeAuth("update user to %s success.", func() (*codec.Command, error) {
		return withBody(request(codec.AuthUpdateUser, "username", u.Username), u)
	})
}

// optional is an option's value, nil when it is not given.
func (s *session) optional(name string) any {
	if !s.given(name) {
		return nil
	}
	return s.text(name)
}

func (s *session) userTable() *table {
	return s.table("%-16s  %-22s  %-22s  %-22s", column{"#UserName", "username"}, column{"#Password", "password"},
		column{"#UserType", "userType"}, column{"#UserStatus", "userStatus"})
}

// getUser shows a user of the first broker that has it. Apache: GetUserSubCommand, which says nothing when there is none.
func getUser(s *session) error {
	addrs, err := s.targets()
	if err != nil {
		return err
	}
	for _, addr := range addrs {
		var u user
		found, err := s.authBody(addr, request(codec.AuthGetUser, "username", s.optional("username")), &u)
		if err != nil {
			return err
		}
		if found {
			s.result(s.userTable().line(u.Username, u.Password, u.UserType, u.UserStatus))
			return nil
		}
	}
	return fmt.Errorf("there is no user %s", s.text("username"))
}

// authBody reads an answer which may have no body: then there is no such thing. Apache's broker answers so, and clients see null.
func (s *session) authBody(addr string, c *codec.Command, v any) (found bool, err error) {
	resp, err := s.broker(addr, c)
	if err != nil {
		return false, err
	}
	if len(resp.Body) == 0 || string(resp.Body) == "null" {
		return false, nil
	}
	if err := codec.UnmarshalJSON(resp.Body, v); err != nil {
		return false, fmt.Errorf("answer of %s: %w", addr, err)
	}
	return true, nil
}

// listUser lists the users of the first broker that has some. Apache: ListUserSubCommand.
func listUser(s *session) error {
	addrs, err := s.targets()
	if err != nil {
		return err
	}
	s.list()
	for _, addr := range addrs {
		var users []user
		if _, err := s.authBody(addr, request(codec.AuthListUser, "filter", s.optional("filter")), &users); err != nil {
			return err
		}
		if len(users) == 0 {
			continue
		}
		t := s.userTable()
		for _, u := range users {
			t.row(u.Username, u.Password, u.UserType, u.UserStatus)
		}
		if !s.given("brokerAddr") {
			s.say("get user from %s success.\n", addr)
		}
		return nil
	}
	return nil
}

// copyUser copies users. Apache: CopyUsersSubCommand.
func copyUser(s *session) error {
	from, to := s.text("fromBroker"), s.text("toBroker")
	var users []user
	if names := commaList(s.text("usernames")); len(names) > 0 {
		for _, name := range names {
			var u user
			found, err := s.authBody(from, request(codec.AuthGetUser, "username", name), &u)
			switch {
			case err != nil:
				return err
			case !found:
				return fmt.Errorf("broker %s has no user %s; nothing is copied", from, name)
			}
			users = append(users, u)
		}
	} else if _, err := s.authBody(from, request(codec.AuthListUser), &users); err != nil {
		return err
	}
	s.list()
	var failed []error
	for _, u := range users {
		code := codec.AuthUpdateUser
		found, err := s.authBody(to, request(codec.AuthGetUser, "username", u.Username), &user{})
		if err == nil && !found {
			code = codec.AuthCreateUser
		}
		failed = append(failed, s.copied("user", u.Username, from, to, err, func() (*codec.Command, error) {
			return withBody(request(code, "username", u.Username), u)
		}))
	}
	return errors.Join(failed...)
}

// copied writes one user or access list at the target and reports it. err is what has gone wrong before.
func (s *session) copied(what, name, from, to string, err error, make func() (*codec.Command, error)) error {
	if err == nil {
		var c *codec.Command
		if c, err = make(); err == nil {
			_, err = s.broker(to, c)
		}
	}
	if err != nil {
		s.add(record{{what, name}, {"ok", false}, {"error", err.Error()}})
		return fmt.Errorf("copy %s of %s: %w", what, name, err)
	}
	s.say("copy %s of %s from %s to %s success.\n", what, name, from, to)
	s.add(record{{what, name}, {"ok", true}})
	return nil
}

// commaList splits at commas and drops what is empty.
func commaList(text string) []string {
	var all []string
	for _, part := range strings.Split(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return slices.Clip(all)
}
