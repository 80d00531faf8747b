package auth

import (
	"errors"
	"strings"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// AUTH_CREATE_USER to AUTH_LIST_ACL, 3001 to 3010. Clients are mqadmin, the dashboard and the proxy; a successful answer without
// a body means that there is none. Passwords are answered in clear, as Java does: copyUser lives on that.
// Apache: AdminBrokerProcessor.

// noRemark is what Java answers with where nobody set a remark.
const noRemark = "not set any response code"

const systemErrorRemark = "An system error occurred, please try again later."

// Entries are the codes of the administration of users. Without users they answer Java's error.
func (g *Guard) Entries() []remoting.Entry {
	return []remoting.Entry{
		{Code: codec.AuthCreateUser, Pool: remoting.PoolAdmin, Handler: g.admin((*Guard).createUser)},
		{Code: codec.AuthUpdateUser, Pool: remoting.PoolAdmin, Handler: g.admin((*Guard).updateUser)},
		{Code: codec.AuthDeleteUser, Pool: remoting.PoolAdmin, Handler: g.admin((*Guard).deleteUser)},
		{Code: codec.AuthGetUser, Pool: remoting.PoolAdmin, Handler: g.admin((*Guard).getUser)},
		{Code: codec.AuthListUser, Pool: remoting.PoolAdmin, Handler: g.admin((*Guard).listUsers)},
		{Code: codec.AuthCreateACL, Pool: remoting.PoolAdmin, Handler: g.admin((*Guard).putACL)},
		{Code: codec.AuthUpdateACL, Pool: remoting.PoolAdmin, Handler: g.admin((*Guard).putACL)},
		{Code: codec.AuthDeleteACL, Pool: remoting.PoolAdmin, Handler: g.admin((*Guard).deleteACL)},
		{Code: codec.AuthGetACL, Pool: remoting.PoolAdmin, Handler: g.admin((*Guard).getACL)},
		{Code: codec.AuthListACL, Pool: remoting.PoolAdmin, Handler: g.admin((*Guard).listACLs)},
	}
}

// admin wraps a handler that returns what the answer's body is made of, nil for none.
func (g *Guard) admin(f func(*Guard, *remoting.Request) (any, error)) remoting.Handler {
	return func(req *remoting.Request) (*codec.Command, error) {
		if g.book == nil {
			return nil, &codec.Refusal{Code: codec.SystemError, Remark: systemErrorRemark +
				" No users are kept here: set authenticationEnabled or authenticationMetadataProvider."}
		}
		body, err := f(g, req)
		if err != nil {
			var refusal *codec.Refusal
			if !errors.As(err, &refusal) {
				g.opts.Logger.Error("administration of users", "request", codec.RequestName(req.Code), "err", err)
				err = &codec.Refusal{Code: codec.SystemError, Remark: systemErrorRemark}
			}
			return nil, err
		}
		resp := req.Response(codec.Success)
		resp.Remark = noRemark
		if body != nil {
			if resp.Body, err = codec.MarshalJSON(body); err != nil {
				return nil, err
			}
		}
		return resp, nil
	}
}

// field returns the text of an extField, empty when it is missing.
func field(req *remoting.Request, name string) string {
	value, _ := req.Field(name)
	return string(value)
}

var errBlankName = &codec.Refusal{Code: codec.InvalidParameter, Remark: "The username is blank"}

// userOf reads the body and checks that only super users make super users.
func (g *Guard) userOf(req *remoting.Request, verb string) (codec.UserInfo, error) {
	var info codec.UserInfo
	name := field(req, "username")
	if name == "" {
		return info, errBlankName
	}
	if err := codec.UnmarshalJSON(req.Body, &info); err != nil {
		return info, &codec.Refusal{Code: codec.SystemError, Remark: "The body is no user: " + err.Error()}
	}
	info.Username = name
	if isSuper(info.UserType) && !g.asksSuper(req) {
		return info, &codec.Refusal{Code: codec.SystemError, Remark: "The super user can only be " + verb + " by super user"}
	}
	return info, nil
}

// asksSuper reports whether a super user asks, or nobody is asked for a name.
func (g *Guard) asksSuper(req *remoting.Request) bool {
	name, _ := req.Field(fieldAccessKey)
	if len(name) == 0 {
		return true
	}
	u := g.book.find(name)
	return u != nil && u.super
}

// mayChange keeps super users from being changed by others.
func (g *Guard) mayChange(req *remoting.Request) func(*user) error {
	super := g.asksSuper(req)
	return func(u *user) error {
		if u.super && !super {
			return refuse("The super user can only be update by super user")
		}
		return nil
	}
}

func (g *Guard) createUser(req *remoting.Request) (any, error) {
	info, err := g.userOf(req, "create")
	if err != nil {
		return nil, err
	}
	return nil, g.book.createUser(info)
}

func (g *Guard) updateUser(req *remoting.Request) (any, error) {
	info, err := g.userOf(req, "update")
	if err != nil {
		return nil, err
	}
	return nil, g.book.updateUser(info, g.mayChange(req))
}

func (g *Guard) deleteUser(req *remoting.Request) (any, error) {
	name := field(req, "username")
	if strings.TrimSpace(name) == "" {
		return nil, refuse("username can not be blank")
	}
	return nil, g.book.deleteUser(name, g.mayChange(req))
}

func (g *Guard) getUser(req *remoting.Request) (any, error) {
	name := field(req, "username")
	if strings.TrimSpace(name) == "" {
		return nil, errBlankName
	}
	if u := g.book.find([]byte(name)); u != nil {
		return u.info(), nil
	}
	return nil, nil
}

func (g *Guard) listUsers(req *remoting.Request) (any, error) {
	var infos []codec.UserInfo
	for _, u := range g.book.sorted(field(req, "filter")) {
		infos = append(infos, u.info())
	}
	if infos == nil {
		return nil, nil
	}
	return infos, nil
}

// userOfSubject takes the name out of "User:name". Apache: Subject.of.
func userOfSubject(key string) (string, bool) {
	kind, name, _ := strings.Cut(key, ":")
	return name, strings.EqualFold(kind, "User")
}

func (g *Guard) putACL(req *remoting.Request) (any, error) {
	var info codec.ACLInfo
	if len(req.Body) > 0 {
		if err := codec.UnmarshalJSON(req.Body, &info); err != nil {
			return nil, &codec.Refusal{Code: codec.SystemError, Remark: "The body of acl cannot be read: " + err.Error()}
		}
	}
	if len(info.Policies) == 0 {
		return nil, &codec.Refusal{Code: codec.SystemError, Remark: "The body of acl is null"}
	}
	name, ok := userOfSubject(info.Subject)
	if !ok {
		name, ok = userOfSubject(field(req, "subject"))
	}
	if !ok {
		return nil, refuse("The subject type is null.")
	}
	return nil, g.book.putACL(name, info.Policies)
}

func (g *Guard) deleteACL(req *remoting.Request) (any, error) {
	name, ok := userOfSubject(field(req, "subject"))
	if !ok {
		return nil, refuse("The subject is null.")
	}
	typ := policyCustom
	if strings.EqualFold(field(req, "policyType"), policyNames[policyDefault]) {
		typ = policyDefault
	}
	key := field(req, "resource")
	if strings.TrimSpace(key) == "" {
		return nil, g.book.deleteACL(name, typ, nil)
	}
	// Java takes a resource that it cannot read for none, and deletes everything.
	r, ok := parseResource(key)
	if !ok {
		return nil, refuse("The resource type is null.")
	}
	return nil, g.book.deleteACL(name, typ, &r)
}

func (g *Guard) getACL(req *remoting.Request) (any, error) {
	name, ok := userOfSubject(field(req, "subject"))
	if !ok {
		return nil, refuse("The subject is null.")
	}
	u := g.book.find([]byte(name))
	switch {
	case u == nil:
		return nil, refuse("The subject is not exist.")
	case u.acl == nil:
		return nil, nil
	}
	return u.acl.info(subject(name)), nil
}

func (g *Guard) listACLs(req *remoting.Request) (any, error) {
	subjects, resources := field(req, "subjectFilter"), field(req, "resourceFilter")
	var infos []codec.ACLInfo
	for _, u := range g.book.sorted("") {
		key := subject(u.name)
		if u.acl == nil || strings.TrimSpace(subjects) != "" && !strings.Contains(key, subjects) {
			continue
		}
		info := u.acl.info(key)
		if strings.TrimSpace(resources) != "" {
			filterEntries(&info, resources)
		}
		if len(info.Policies) > 0 {
			infos = append(infos, info)
		}
	}
	if infos == nil {
		return nil, nil
	}
	return infos, nil
}

// filterEntries keeps the entries whose resource contains the filter.
func filterEntries(info *codec.ACLInfo, filter string) {
	policies := info.Policies[:0]
	for _, p := range info.Policies {
		entries := p.Entries[:0]
		for _, e := range p.Entries {
			if strings.Contains(e.Resource, filter) {
				entries = append(entries, e)
			}
		}
		if p.Entries = entries; len(entries) > 0 {
			policies = append(policies, p)
		}
	}
	info.Policies = policies
}
