package auth

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// plainPeriod is how often the files are looked at for changes.
const plainPeriod = time.Second

// Plain are the accounts of ACL 1.0, as the files below the home folder hold them. A change of a file counts within a second; a file
// that cannot be read, or the last one that goes, leaves the last good accounts in force. Apache: PlainPermissionManager of 5.2.
type Plain struct {
	home string
	log  *slog.Logger
	now  atomic.Pointer[plainTable]
	// seen is what the files looked like when they were read last. It belongs to Run.
	seen map[string]fileState
	// complained is the last error that was logged.
	complained string
}

type plainTable struct {
	white    []*addressPattern
	accounts map[string]*account
}

type fileState struct {
	size    int64
	changed time.Time
	fresh   bool // it was read so soon after its change that another one may bear the same time
}

// OpenPlain reads the accounts; at the start a damaged file is an error.
func OpenPlain(home string, log *slog.Logger) (*Plain, error) {
	p := &Plain{home: home, log: log}
	state, err := p.look(time.Now())
	if err != nil {
		return nil, err
	}
	p.seen = state
	if err := p.load(); err != nil {
		return nil, err
	}
	if p.now.Load().empty() {
		log.Warn("aclEnable=true, and no file has an account: every request will be refused", "file", plainFile, "folder", plainFolder, "home", home)
	}
	return p, nil
}

// Run reads the files again when they have changed, until ctx ends.
func (p *Plain) Run(ctx context.Context) {
	ticker := time.NewTicker(plainPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.refresh(time.Now())
		}
	}
}

// refresh reads the files if they look otherwise than the last time.
func (p *Plain) refresh(now time.Time) {
	state, err := p.look(now)
	if err != nil {
		p.complain(err)
		return
	}
	if same(p.seen, state) {
		return
	}
	p.seen = state
	if err := p.load(); err != nil {
		p.complain(err)
		return
	}
	p.complained = ""
	t := p.now.Load()
	p.log.Info("accounts read anew", "accounts", len(t.accounts), "white addresses", len(t.white))
}

// complain logs an error once for as long as it stays the same.
func (p *Plain) complain(err error) {
	if text := err.Error(); text != p.complained {
		p.complained = text
		p.log.Error("accounts cannot be read, the last good ones stay in force", "err", err)
	}
}

func same(a, b map[string]fileState) bool {
	if len(a) != len(b) {
		return false
	}
	for path, was := range a {
		is, ok := b[path]
		if !ok || was.fresh || was.size != is.size || !was.changed.Equal(is.changed) {
			return false
		}
	}
	return true
}

func (p *Plain) look(now time.Time) (map[string]fileState, error) {
	files, err := plainFiles(p.home)
	if err != nil {
		return nil, err
	}
	state := make(map[string]fileState, len(files))
	for _, path := range files {
		var info fs.FileInfo
		if info, err = os.Stat(path); err != nil {
			return nil, fmt.Errorf("look at the accounts: %w", err)
		}
		state[path] = fileState{info.Size(), info.ModTime(), now.Sub(info.ModTime()) < 2*plainPeriod}
	}
	return state, nil
}

func (p *Plain) load() error {
	files, err := plainFiles(p.home)
	if err != nil {
		return err
	}
	t := &plainTable{accounts: make(map[string]*account)}
	for _, path := range files {
		data, err := readPlainFile(path)
		if err != nil {
			return err
		}
		for _, text := range data.Global {
			pattern, err := parseAddressPattern(text)
			if err != nil {
				return fmt.Errorf("%s: globalWhiteRemoteAddresses: %w", path, err)
			}
			if pattern != nil {
				t.white = append(t.white, pattern)
			}
		}
		for i := range data.Accounts {
			a, err := data.Accounts[i].compile()
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if t.accounts[a.name] != nil {
				p.log.Warn("accessKey stands twice, the first counts", "user", a.name, "file", path, "line", data.Accounts[i].line)
				continue
			}
			t.accounts[a.name] = a
			for _, word := range data.Accounts[i].unknownPerms() {
				p.log.Warn("permission is none of PUB, SUB, PUB|SUB and DENY, it denies", "permission", word, "user", a.name, "file", path, "line", data.Accounts[i].line)
			}
		}
	}
	if before := p.now.Load(); t.empty() && before != nil && !before.empty() {
		return fmt.Errorf("%s: it is empty or gone, and no file below %s has an account; one with permissions DENY refuses everybody",
			filepath.Join(p.home, plainFile), filepath.Join(p.home, plainFolder))
	}
	p.now.Store(t)
	return nil
}

func (t *plainTable) empty() bool { return len(t.accounts) == 0 && len(t.white) == 0 }

// Run keeps what changes by itself up to date, until ctx ends.
func (g *Guard) Run(ctx context.Context) {
	if g.plain != nil {
		g.plain.Run(ctx)
	}
}

// plainRefusal is Java's: the exception becomes SYSTEM_ERROR, and clients show its text.
func plainRefusal(remark string) error {
	return &codec.Refusal{Code: codec.SystemError, Remark: "org.apache.rocketmq.acl.common.AclException: " + remark}
}

// checkPlain lets a request through or returns the refusal. Apache: PlainAccessValidator.
func (g *Guard) checkPlain(req *remoting.Request) error {
	if req.Inline() && len(req.Body) > maxInlineBytes {
		return remoting.ErrHandOver
	}
	t := g.call(req)
	defer g.done(t)
	err := t.validatePlain(&req.Command, g.plain.now.Load())
	if err != nil {
		g.denials.count(t.cause, req, err)
	}
	return err
}

func (t *call) validatePlain(c *codec.Command, table *plainTable) error {
	for _, white := range table.white {
		if white.match(t.from) {
			return nil
		}
	}
	name, ok := c.Field(fieldAccessKey)
	if !ok {
		t.cause = causeNoUser
		return plainRefusal("No accessKey is configured")
	}
	a := table.accounts[string(name)]
	if a == nil {
		t.cause = causeUnknownUser
		return plainRefusal("No acl config for " + shown(name))
	}
	if a.white != nil && a.white.match(t.from) {
		return nil
	}
	signature, _ := c.Field(fieldSignature)
	t.content.gather(c)
	if !a.macs.verify(&t.content, c, signature) {
		t.cause = causeSignature
		return plainRefusal("Check signature failed for accessKey=" + a.name)
	}
	if a.admin {
		return nil
	}
	r := rules[c.Code]
	if r == nil {
		return nil
	}
	if needsAdmin(c.Code, r) {
		t.cause = causeNotAdmin
		return plainRefusal("Need admin permission for request code=" + strconv.Itoa(int(c.Code)) + ", but accessKey=" + a.name + " is not")
	}
	t.account = a
	return r.walk(c, (*plainCall)(t))
}

// needsAdmin are Java's codes, what does the same for several at once, and changes of the broker as a whole. Apache:
// Permission.ADMIN_CODE.
func needsAdmin(code int32, r *rule) bool {
	switch code {
	case codec.UpdateAndCreateTopic, codec.UpdateBrokerConfig, codec.DeleteTopicInBroker, codec.UpdateAndCreateSubscriptionGroup,
		codec.DeleteSubscriptionGroup:
		return true
	case codec.UpdateAndCreateTopicList, codec.UpdateAndCreateStaticTopic, codec.UpdateAndCreateSubscriptionGroupList:
		return true
	}
	return r.change && r.cluster
}

// plainCall asks an account of ACL 1.0.
type plainCall call

const traceTopic = "RMQ_SYS_TRACE_TOPIC"

// ask implements asker. Rights that ACL 1.0 does not know are nobody's business.
func (t *plainCall) ask(kind Kind, name []byte, actions Actions) error {
	var needed perm
	if actions&ActionPub != 0 {
		needed |= permPub
	}
	if actions&ActionSub != 0 {
		needed |= permSub
	}
	if kind == KindTopic && isRetry(name) {
		kind, name = KindGroup, groupOf(name)
	}
	a := t.account
	var owned, byDefault perm
	var own bool
	what := "topic:"
	switch kind {
	case KindTopic:
		if needed == permPub && string(name) == traceTopic {
			return nil
		}
		owned, own = a.topics[string(name)]
		byDefault = a.defaultTopic
	case KindGroup:
		what = "group:"
		owned, own = a.groups[string(name)]
		byDefault = a.defaultGroup
	default:
		return nil
	}
	switch {
	case needed == 0:
		return nil
	case own && !owned.allows(needed):
		t.cause = causeDenied
		return plainRefusal("No permission for " + what + shown(name))
	case !own && !byDefault.allows(needed):
		t.cause = causeNoPolicy
		return plainRefusal("No default permission for " + what + shown(name))
	}
	return nil
}

func (p perm) allows(needed perm) bool { return p&permDeny == 0 && p&needed != 0 }
