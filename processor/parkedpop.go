package processor

import (
	"sync/atomic"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// parkedPop is a request that waits. Its header's names lie in names. Once it is registered it belongs to whoever takes it, and its memory
// to the next request when it is answered.
type parkedPop struct {
	ticket atomic.Uint64 // moves when it is taken out

	h      codec.PopHeader
	names  []byte
	notify bool // a NOTIFICATION
	filter *store.TagFilter
	sql    bool
	conn   remoting.Conn
	reply  remoting.Parked
	dueMs  int64

	shard      *popHoldShard
	group      *waitGroup
	inDue      int
	prev, next *parkedPop
	onConn     connLink[*parkedPop]
	nextTaken  *parkedPop
}

// keptNames is how many bytes of names the memory of a request keeps for the next one.
const keptNames = 4096

// boundNames returns the memory of names, or nil when it has grown beyond what is kept.
func boundNames(names []byte) []byte {
	if cap(names) > keptNames {
		return nil
	}
	return names
}

// recycle makes the memory of a request that is in no list free for another.
func (h *popHold) recycle(pp *parkedPop) {
	pp.names = boundNames(pp.names)
	pp.h, pp.notify, pp.filter, pp.sql = codec.PopHeader{}, false, nil, false
	pp.conn, pp.shard, pp.group = nil, nil, nil
	pp.reply.Forget()
	h.free.Put(pp)
}

// keepNames moves the names of a header, whose bytes are about to die, into dst, and lets the header have them there.
func keepNames(dst []byte, names ...*[]byte) []byte {
	dst = dst[:0]
	for _, name := range names {
		dst = append(dst, *name...)
	}
	rest := dst
	for _, name := range names {
		n := len(*name)
		*name, rest = rest[:n:n], rest[n:]
	}
	return dst
}

func keepPopNames(dst []byte, h *codec.PopHeader) []byte {
	return keepNames(dst, &h.Group, &h.Topic, &h.Expression, &h.ExpressionType, &h.AttemptID)
}

// wants reports whether an arrival passes the pop's filter as far as its tag tells.
func (pp *parkedPop) wants(a *store.Arrival) bool {
	return a == nil || !a.SameTags || pp.sql || pp.filter.Match(a.TagsCode)
}

func (pp *parkedPop) due() int64      { return pp.dueMs }
func (pp *parkedPop) moved(place int) { pp.inDue = place }
