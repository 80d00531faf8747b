package store

import (
	"errors"
	"fmt"
	"sync"

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
	broken bool // an error was logged; belongs to whoever puts
	from   int64
}

// catchUpSync is how much log is indexed before Open returns; more is indexed in the background.
const catchUpSync = 64 << 20

// start tells from where the index has to be fed, and up to where the log is dispatched.
func (x *indexer) start(from, dispatched int64) {
	x.from = from
	if x.index == nil {
		return
	}
	if from >= dispatched {
		x.live = true
	} else if dispatched-from <= catchUpSync {
		x.catchUp(func() int64 { return dispatched }, nil)
	}
}

// catchUp indexes the records between from and dispatched, which moves on meanwhile, and lets the dispatcher go on from
// there.
func (x *indexer) catchUp(dispatched func() int64, stop <-chan struct{}) {
	for {
		to := dispatched()
		if to-x.from < catchUpSync/16 {
			break
		}
		if !x.feed(min(to, x.from+catchUpSync/16), stop) {
			return
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.live = x.feed(dispatched(), stop)
}

// feed indexes the records in [from, to); false when it was stopped.
func (x *indexer) feed(to int64, stop <-chan struct{}) bool {
	var m codec.Message
	for x.from < to {
		select {
		case <-stop:
			return false
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
			if err := x.put(string(m.Topic), m.Properties, m.SysFlag, m.PhysOffset, m.StoreTimestampMs); err != nil {
				x.log.opts.Logger.Error("index is not complete", "err", err)
			}
		case !errors.Is(err, codec.ErrBlank):
			n, _ = x.log.resync(seg, x.from-seg.base, min(to-seg.base, seg.size))
		}
		seg.release()
		x.from += n
	}
	return true
}

// put indexes one record. Only a full disk is an error, which the dispatcher waits out; a record that cannot be indexed
// for another reason is left out and said once.
func (x *indexer) put(topic string, props []byte, sysFlag int32, physOffset, storeMs int64) error {
	if codec.TransactionType(sysFlag) == codec.SysRollback {
		return nil
	}
	var uniqKey, keys, tags []byte
	for it := codec.NewPropertyIter(props); it.Next(); {
		switch string(it.Key) {
		case codec.PropUniqKey:
			uniqKey = it.Value
		case codec.PropKeys:
			keys = it.Value
		case codec.PropTags:
			tags = it.Value
		}
	}
	if len(uniqKey) == 0 && len(keys) == 0 && len(tags) == 0 {
		return nil
	}
	err := x.index.Put(topic, uniqKey, keys, tags, physOffset, storeMs)
	if err != nil && !errors.Is(err, ErrNoSpace) {
		if !x.broken {
			x.log.opts.Logger.Error("index is not complete", "phys", physOffset, "err", err)
		}
		x.broken, err = true, nil
	}
	if err != nil {
		return fmt.Errorf("index message at %d: %w", physOffset, err)
	}
	return nil
}
