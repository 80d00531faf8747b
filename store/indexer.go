package store

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// indexer keeps the key index behind the log. Usually the dispatcher feeds it record by record (live). After a start at
// which the index is far behind, as after a crash took its last file, catchUp reads the log first, beside the
// dispatcher. Apache: IndexService, CommitLogDispatcherBuildIndex.
type indexer struct {
	index *Index // nil: no index
	log   *commitLog

	mu     sync.Mutex // held by the dispatcher during a batch, and by catchUp at its end; guards live
	live   bool
	from   int64         // up to where the log is indexed, until live
	caught chan struct{} // closed when live
}

// newIndexer makes an indexer that is behind.
func newIndexer(log *commitLog) *indexer { return &indexer{log: log, caught: make(chan struct{})} }

// await waits until the index covers all messages stored up to endMs; ErrIndexBehind when that takes too long.
func (x *indexer) await(endMs int64, limit time.Duration, stop <-chan struct{}) error {
	select {
	case <-x.caught:
		return nil
	default:
	}
	if x.index.EndTimestampMs() > endMs {
		return nil
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-x.caught:
		return nil
	case <-stop:
		return ErrClosed
	case <-timer.C:
		return ErrIndexBehind
	}
}

// goOn lets the dispatcher feed the index if there was no error.
func (x *indexer) goOn(err error) {
	if x.live = err == nil; x.live {
		close(x.caught)
	}
}

// catchUpSync is how much log is indexed before Open returns; more is indexed in the background.
const catchUpSync = 64 << 20

// start tells from where the index has to be fed, and up to where the log is dispatched.
func (x *indexer) start(from, dispatched int64) {
	x.from = from
	if dispatched-from > catchUpSync {
		x.log.opts.Logger.Info("index is behind the log, it is fed in the background", "from", from, "to", dispatched)
		return
	}
	err := x.feed(dispatched, nil)
	x.goOn(err)
	if err != nil {
		x.log.opts.Logger.Error("index is not complete yet", "err", err)
	}
}

// catchUp indexes the records between from and dispatched, which moves on meanwhile, and lets the dispatcher go on from
// there.
func (x *indexer) catchUp(dispatched func() int64, stop <-chan struct{}) {
	for {
		err := x.feed(dispatched(), stop)
		if err == nil {
			if err = x.goLive(dispatched, stop); err == nil {
				return
			}
		}
		if errors.Is(err, ErrClosed) {
			return
		}
		x.log.opts.Logger.Error("index is not complete yet", "err", err)
		select {
		case <-stop:
			return
		case <-time.After(10 * dispatchRetry):
		}
	}
}

// goLive indexes the little that was dispatched meanwhile, while the dispatcher waits.
func (x *indexer) goLive(dispatched func() int64, stop <-chan struct{}) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	err := x.feed(dispatched(), stop)
	x.goOn(err)
	return err
}

// feed indexes the records from from to to; ErrClosed when it was stopped.
func (x *indexer) feed(to int64, stop <-chan struct{}) error {
	var m codec.Message
	for x.from < to {
		select {
		case <-stop:
			return ErrClosed
		default:
		}
		seg := x.log.find(x.from)
		if seg == nil {
			x.from = x.log.nextSegment(x.from, to)
			continue
		}
		n, err := readRecord(seg, x.from-seg.base, min(to-seg.base, seg.size), false, &m)
		switch {
		case err == nil:
			err = x.put(string(m.Topic), m.Properties, m.SysFlag, m.PhysOffset, m.StoreTimestampMs)
		case errors.Is(err, codec.ErrBlank):
			err = nil
		default: // damage that recovery passed over
			n, _ = x.log.resync(seg, x.from-seg.base, min(to-seg.base, seg.size))
			err = nil
		}
		seg.release()
		if err != nil {
			return err
		}
		x.from += n
	}
	return nil
}

// put indexes one record, until the dispatcher does.
func (x *indexer) put(topic string, props []byte, sysFlag int32, physOffset, storeMs int64) error {
	if codec.TransactionType(sysFlag) == codec.SysRollback {
		return nil
	}
	uniqKey, keys, tags := indexedProperties(props)
	if err := x.index.Put(topic, uniqKey, keys, tags, physOffset, storeMs); err != nil {
		return fmt.Errorf("index message at %d: %w", physOffset, err)
	}
	return nil
}

// note takes the keys of a record of the dispatcher's, which putNoted puts into the index.
func (x *indexer) note(topic string, props []byte, sysFlag int32, physOffset, storeMs int64) {
	if codec.TransactionType(sysFlag) != codec.SysRollback {
		uniqKey, keys, tags := indexedProperties(props)
		x.index.note(topic, uniqKey, keys, tags, physOffset, storeMs)
	}
}

// putNoted puts the keys that the dispatcher noted into the index, when those are many all but the newest. After an error some are
// still noted.
func (x *indexer) putNoted(many int) error {
	if !x.live || len(x.index.noted) <= many {
		return nil
	}
	if err := x.index.putNoted(many / 2); err != nil {
		return fmt.Errorf("index message at %d: %w", x.index.noted[0].physOffset, err)
	}
	return nil
}

// indexed returns physOffset, up to which keys were noted, or that of the first record with one that is not in the index.
func (x *indexer) indexed(physOffset int64) int64 {
	if x.live && len(x.index.noted) > 0 {
		return x.index.noted[0].physOffset
	}
	return physOffset
}

// indexedProperties picks what is indexed out of a properties text. It agrees with codec.PropertyIter, and looks at the
// name only of a pair whose first letter may be the right one: it runs once for each message.
func indexedProperties(props []byte) (uniqKey, keys, tags []byte) {
	const end, nameEnd = 2, 1
	for len(props) > 0 {
		pair := props
		if i := bytes.IndexByte(props, end); i >= 0 {
			pair, props = props[:i], props[i+1:]
		} else {
			props = nil
		}
		const u, k, t = len(codec.PropUniqKey), len(codec.PropKeys), len(codec.PropTags)
		switch {
		case len(pair) == 0:
		case pair[0] == 'U':
			if len(pair) > u+1 && pair[u] == nameEnd && string(pair[:u]) == codec.PropUniqKey {
				uniqKey = pair[u+1:]
			}
		case pair[0] == 'K':
			if len(pair) > k+1 && pair[k] == nameEnd && string(pair[:k]) == codec.PropKeys {
				keys = pair[k+1:]
			}
		case pair[0] == 'T':
			if len(pair) > t+1 && pair[t] == nameEnd && string(pair[:t]) == codec.PropTags {
				tags = pair[t+1:]
			}
		}
	}
	return uniqKey, keys, tags
}
