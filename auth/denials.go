package auth

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// cause is why a request was refused.
type cause uint8

const (
	causeOther cause = iota
	causeNoUser
	causeUnknownUser
	causeDisabled
	causeSignature
	causeNoPolicy
	causeDenied
	causeNotAdmin

	causes = 8
)

var causeNames = [causes]string{"unreadable", "no_access_key", "unknown_user", "disabled_user", "bad_signature", "no_policy", "denied", "not_admin"}

// denials counts refused requests and logs at most one a second of each cause.
type denials struct {
	counts [causes]atomic.Int64
	logged [causes]atomic.Int64 // when, in nanoseconds
	quiet  [causes]atomic.Int64 // how many since then

	now func() time.Time
	log *slog.Logger
}

func (d *denials) count(why cause, req *remoting.Request, err error) {
	d.counts[why].Add(1)
	now, last := d.now().UnixNano(), d.logged[why].Load()
	if now-last < int64(time.Second) && now >= last || !d.logged[why].CompareAndSwap(last, now) {
		d.quiet[why].Add(1)
		return
	}
	name, _ := req.Field(fieldAccessKey)
	d.log.Warn("request refused", "cause", causeNames[why], "user", shown(name), "client", req.Conn.RemoteAddr(),
		"request", codec.RequestName(req.Code), "remark", err.Error(), "others", d.quiet[why].Swap(0))
}

// Denied calls f with the number of refused requests for each cause.
func (g *Guard) Denied(f func(cause string, count int64)) {
	for why := range g.denials.counts {
		f(causeNames[why], g.denials.counts[why].Load())
	}
}
