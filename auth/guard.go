// Package auth knows who may do what: users and policies as Java has them since 5.3 (ACL 2.0), accounts in plain_acl.yml as before
// (ACL 1.0), the signatures of requests, and the log of what administrators changed.
//
// Every request is checked by itself, on the goroutine that is about to run its handler: the signature first, then a right for
// each resource that the request touches. Nothing is remembered between two requests, so that a change counts at once.
package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// maxInlineBytes is the largest body whose signature is computed on an event loop; a larger one goes to a pool first.
const maxInlineBytes = 128 << 10

// Options are what a Guard works with.
type Options struct {
	Config
	// Cluster is the name of the own cluster.
	Cluster string
	// Dir is the folder of the users' file.
	Dir    string
	Logger *slog.Logger
	Now    func() time.Time
}

// Guard checks requests and serves the administration of users. Apache: AuthenticationPipeline, AuthorizationPipeline.
type Guard struct {
	opts    Options
	cluster []byte
	book    *Book  // nil: no users are kept
	plain   *Plain // nil: no ACL 1.0
	// openAuthentication and openAuthorization are the codes of the white lists.
	openAuthentication, openAuthorization map[int32]bool
	calls                                 sync.Pool // of *call
	denials                               denials
}

// Open reads the users or accounts. The guard of a Config that asks for nothing checks nothing.
func Open(opts Options) (*Guard, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	g := &Guard{opts: opts, cluster: []byte(opts.Cluster), openAuthentication: codeSet(opts.AuthenticationWhitelist),
		openAuthorization: codeSet(opts.AuthorizationWhitelist)}
	g.calls.New = func() any { return &call{guard: g} }
	g.denials.now, g.denials.log = opts.Now, opts.Logger
	var err error
	if opts.ACL {
		if g.plain, err = OpenPlain(opts.Home, opts.Logger); err != nil {
			return nil, err
		}
	}
	if opts.keepsUsers() {
		if err := g.openBook(); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (g *Guard) openBook() (err error) {
	if g.book, err = OpenBook(g.opts.Dir, g.opts.KeyFile, g.opts.Logger); err != nil {
		return err
	}
	if err := g.ensureUsers(); err != nil {
		return err
	}
	if g.opts.MigrateFromV1 {
		if err := g.migrate(); err != nil {
			return err
		}
	}
	if g.opts.Authentication && g.book.Len() == 0 {
		return errors.New("authenticationEnabled=true, and there is no user: set initAuthenticationUser={\"username\":\"…\",\"password\":\"…\"} for the first start")
	}
	return nil
}

// ensureUsers creates the users that the keys name, unless they are there. Apache: AuthenticationMetadataManagerImpl.initUser.
func (g *Guard) ensureUsers() error {
	first, err := g.opts.initUser()
	if err != nil {
		return err
	}
	inner, err := g.opts.inner()
	if err != nil {
		return err
	}
	for _, info := range []codec.UserInfo{first, {Username: inner.AccessKey, Password: inner.SecretKey, UserType: "Super"}} {
		if info.Username == "" {
			continue
		}
		if old := g.book.find([]byte(info.Username)); old != nil {
			if string(old.secret) != info.Password {
				g.opts.Logger.Warn("a user of the settings is there with another password, which stays", "user", info.Username)
			}
			continue
		}
		if err := g.book.createUser(info); err != nil {
			return fmt.Errorf("create user %s of the settings: %w", info.Username, err)
		}
		g.opts.Logger.Info("super user created", "user", info.Username)
	}
	return nil
}

// WarnOfRocksDB says that users of Java's broker lie in a store directory and cannot be read.
func (g *Guard) WarnOfRocksDB(storeRoot string) {
	dir := filepath.Join(storeRoot, "config", "users")
	if _, err := os.Stat(filepath.Join(dir, "CURRENT")); err == nil && g.book != nil {
		g.opts.Logger.Warn("users and policies of Apache's broker lie in RocksDB and are not read; bring them here with mqadmin copyUser and copyAcl",
			"folder", dir)
	}
}

// KeepsUsers reports whether there are users to administer.
func (g *Guard) KeepsUsers() bool { return g.book != nil }

// Check returns the function that checks every request, nil when none is checked.
func (g *Guard) Check() func(*remoting.Request) error {
	switch {
	case g.plain != nil:
		return g.checkPlain
	case g.opts.Authentication:
		return g.check
	}
	return nil
}

// call is what a check works with, used again for other requests.
type call struct {
	guard   *Guard
	user    *user
	account *account
	from    netip.Addr
	content content
	cause   cause
}

func (g *Guard) call(req *remoting.Request) *call {
	t := g.calls.Get().(*call)
	t.from, t.cause = req.Conn.RemoteAddr().Addr().Unmap(), causeOther
	return t
}

func (g *Guard) done(t *call) {
	t.user, t.account = nil, nil
	t.content.forget()
	g.calls.Put(t)
}

// check lets a request through or returns the refusal.
func (g *Guard) check(req *remoting.Request) error {
	if req.Inline() && len(req.Body) > maxInlineBytes {
		return remoting.ErrHandOver
	}
	t := g.call(req)
	defer g.done(t)
	err := t.authenticate(&req.Command)
	if err == nil && g.opts.Authorization {
		err = t.authorize(&req.Command)
	}
	if err != nil {
		g.denials.count(t.cause, req, err)
	}
	return err
}

// authenticate finds the user and compares the signature.
func (t *call) authenticate(c *codec.Command) error {
	err := t.verify(c)
	if err != nil && t.guard.openAuthentication[c.Code] {
		t.user = nil
		return nil
	}
	return err
}

func (t *call) verify(c *codec.Command) error {
	name, _ := c.Field(fieldAccessKey)
	if len(name) == 0 {
		t.cause = causeNoUser
		return errNoUser
	}
	u := t.guard.book.find(name)
	switch {
	case u == nil:
		t.cause = causeUnknownUser
		return refuse("User:" + shown(name) + " is not found.")
	case u.disabled:
		t.cause = causeDisabled
		return refuse("User:" + u.name + " is disabled.")
	}
	signature, _ := c.Field(fieldSignature)
	t.content.gather(c)
	if !u.macs.verify(&t.content, c, signature) {
		t.cause = causeSignature
		return errSignature
	}
	t.user = u
	return nil
}

var (
	errNoUser     = refuse("username cannot be null.")
	errSignature  = refuse("check signature failed.")
	errNoIdentity = refuse("Authorization failed. Please verify your access rights and try again.")
)

// shown cuts a name that comes from outside.
func shown(name []byte) string {
	if len(name) > 128 {
		return string(name[:128]) + "…"
	}
	return string(name)
}

// authorize asks for every right that the request needs.
func (t *call) authorize(c *codec.Command) error {
	if t.user != nil && t.user.super || t.guard.openAuthorization[c.Code] {
		return nil
	}
	r := rules[c.Code]
	if r == nil {
		return nil
	}
	if t.user == nil {
		t.cause = causeNoUser
		return errNoIdentity
	}
	return r.walk(c, t)
}

// ask implements asker.
func (t *call) ask(kind Kind, name []byte, actions Actions) error {
	if name == nil {
		name = t.guard.cluster
	}
	e, _ := t.user.acl.find(kind, name, actions, t.from)
	switch {
	case e == nil:
		t.cause = causeNoPolicy
		return t.noRight(kind, name, "no matched policies.")
	case e.deny:
		t.cause = causeDenied
		return t.noRight(kind, name, "the decision is deny.")
	}
	return nil
}

// MayRead returns the refusal for who asked for a message by its place in the log and has no right to read its topic. The request has
// passed the guard, which knew only what topic it claimed.
func (g *Guard) MayRead(req *remoting.Request, topic []byte) error {
	if !g.opts.Authorization || g.openAuthorization[req.Code] {
		return nil
	}
	name, _ := req.Field(fieldAccessKey)
	u := g.book.find(name)
	if u == nil {
		return errNoIdentity
	}
	if u.super {
		return nil
	}
	t := g.call(req)
	defer g.done(t)
	t.user = u
	err := askTopicOrGroup(KindTopic, topic, subGet, t)
	if err != nil {
		g.denials.count(t.cause, req, err)
	}
	return err
}

func (t *call) noRight(kind Kind, name []byte, why string) error {
	return refuse(subject(t.user.name) + " has no permission to access " + kind.String() + ":" + shown(name) + " from " + t.from.String() + ", " + why)
}
