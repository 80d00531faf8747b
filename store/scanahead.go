package store

import (
	"sync"
	"sync/atomic"

	"github.com/apogee-mq/apogee/codec"
)

// scanAhead checks records before the scan reaches them, on another core: it is the scan that gives them their entries.
type scanAhead struct {
	checked atomic.Int64 // records that end at or before this physical offset are whole
	stop    atomic.Bool
	ended   sync.WaitGroup
}

// aheadStep is how much is checked before the scan is told.
const aheadStep = 1 << 20

// run checks from pos of list[i] on, up to the first place where no whole record is.
func (a *scanAhead) run(list []*segment, i int, pos int64) {
	var m codec.Message
	for ; i < len(list); i, pos = i+1, 0 {
		seg := list[i]
		for told := pos; !a.stop.Load(); {
			n, err := readRecord(seg, pos, seg.size, true, &m)
			if err != nil {
				a.checked.Store(seg.base + pos)
				if n == 0 { // no filler either
					return
				}
				break
			}
			if pos += n; pos-told >= aheadStep {
				a.checked.Store(seg.base + pos)
				told = pos
			}
		}
	}
}

// end waits for run.
func (a *scanAhead) end() {
	a.stop.Store(true)
	a.ended.Wait()
}
