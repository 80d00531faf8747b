package processor

import (
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// parkedPull is a pull that waits. Its header's names lie in names.
type parkedPull struct {
	// ticket tells one stay in the table from the next; it moves when the pull is taken out.
	ticket atomic.Uint64

	h       codec.PullHeader
	names   []byte
	key     holdKey
	static  staticQueue // h is about its stretch
	filter  *store.TagFilter
	sql     bool // it filters by properties
	conn    remoting.Conn
	reply   remoting.Parked
	dueNs   int64 // unix time in ns at which it is answered
	skipped bool  // entries that do not match have passed

	inDue                int // place in its shard's heap
	queuePrev, queueNext *parkedPull
	onConn               connLink[*parkedPull]
	nextTaken            *parkedPull // list of those that were taken together
}

// keep copies the header of a request whose bytes are about to die.
func (pp *parkedPull) keep(h *codec.PullHeader) {
	pp.h = *h
	pp.names = keepNames(pp.names, &pp.h.Group, &pp.h.Topic, &pp.h.Subscription, &pp.h.ExpressionType)
	pp.h.ProxyForwardClientID = nil
}

// skip notes that entries have passed which do not match, and reports whether that brought the answer's time nearer.
func (pp *parkedPull) skip(now time.Time) (nearer bool) {
	pp.skipped = true
	dueNs := now.Add(skippedTime).UnixNano()
	nearer = dueNs < pp.dueNs
	pp.dueNs = min(pp.dueNs, dueNs)
	return nearer
}

func (pp *parkedPull) due() int64      { return pp.dueNs }
func (pp *parkedPull) moved(place int) { pp.inDue = place }
