package auth

import (
	"errors"
	"log/slog"
	"strings"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// Audit wraps the handlers of administration that changes something so that each such request leaves a line in the log: who, from
// where, what, on which resources and how it ended. Without adminAuditEnable the entries stay as they are.
// Apache: the log rocketmq_auth_audit.
func (g *Guard) Audit(entries []remoting.Entry) []remoting.Entry {
	if !g.opts.Audit {
		return entries
	}
	for i := range entries {
		if entries[i].Code == codec.RegisterTopicInNamesrv {
			continue // brokers send it for each new topic
		}
		if r := rules[entries[i].Code]; r != nil && r.change {
			entries[i].Handler = audited(r, entries[i].Handler, g.opts.Logger)
		}
	}
	return entries
}

func audited(r *rule, next remoting.Handler, log *slog.Logger) remoting.Handler {
	return func(req *remoting.Request) (*codec.Command, error) {
		who, on := field(req, fieldAccessKey), resourcesOf(r, &req.Command)
		name, from := codec.RequestName(req.Code), req.Conn.RemoteAddr()
		resp, err := next(req)
		if errors.Is(err, remoting.ErrHandOver) {
			return resp, err
		}
		code, remark := int32(codec.Success), ""
		var refusal *codec.Refusal
		switch {
		case errors.As(err, &refusal):
			code, remark = refusal.Code, refusal.Remark
		case err != nil:
			code, remark = codec.SystemError, err.Error()
		case resp != nil && resp.Code != codec.Success:
			code, remark = resp.Code, resp.Remark
		}
		args := []any{"user", shown([]byte(who)), "client", from, "request", name, "code", req.Code, "resource", on, "answer", codec.ResponseName(code)}
		if remark != "" {
			args = append(args, "remark", remark)
		}
		log.Info("administration", args...)
		return resp, err
	}
}

// maxAuditedNames bounds a line.
const maxAuditedNames = 16

// names gathers the resources of a request as text.
type names struct {
	list []string
	more bool
}

// ask implements asker.
func (n *names) ask(kind Kind, name []byte, _ Actions) error {
	if len(n.list) >= maxAuditedNames {
		n.more = true
		return nil
	}
	if name == nil { // the own cluster
		n.list = append(n.list, kind.String())
		return nil
	}
	n.list = append(n.list, kind.String()+":"+shown(name))
	return nil
}

func resourcesOf(r *rule, c *codec.Command) string {
	var n names
	if err := r.walk(c, &n); err != nil {
		return "unreadable"
	}
	for _, f := range [...]string{"username", "subject", "resource"} {
		if value, ok := c.Field(f); ok && c.Code >= codec.AuthCreateUser && c.Code <= codec.AuthListACL {
			n.list = append(n.list, f+"="+shown(value))
		}
	}
	if n.more {
		n.list = append(n.list, "…")
	}
	return strings.Join(n.list, " ")
}
