package store

import "slices"

// Bit maps in units tell which expressions a message passes: each group and topic has some bits of a Bloom filter, and where not all
// of them are set the message need not be looked at. An expression has its say in messages that are stored after the group came with
// it, and only in those its bits are asked; of all others the properties are. Apache: CommitLogDispatcherCalcBitMap,
// ExpressionMessageFilter.isMatchedByConsumeQueue.

// fits reports whether the bits are those of a filter of this shape.
func (s bloomShape) fits(d *BloomData) bool {
	return d != nil && d.BitNum == s.bits && len(d.BitPos) == int(s.hashes) &&
		!slices.ContainsFunc(d.BitPos, func(pos int32) bool { return pos < 0 || pos >= s.bits })
}

// addTo sets the bits in a map that is long enough. Apache: BloomFilter.hashTo.
func (d *BloomData) addTo(bits []byte) {
	for _, pos := range d.BitPos {
		bits[pos/8] |= 1 << (pos % 8)
	}
}

// isIn reports whether all the bits are set. Apache: BloomFilter.isHit.
func (d *BloomData) isIn(bits []byte) bool {
	for _, pos := range d.BitPos {
		if bits[pos/8]&(1<<(pos%8)) == 0 {
			return false
		}
	}
	return true
}

// excludes reports whether a bit map says that the message of a unit does not pass.
func (d *FilterData) excludes(u *extUnit, physOffset int64) bool {
	return physOffset >= d.fromPhys && d.passedOver(u.storeMs, u.bits)
}

// passedOver is excludes as Java decides it, by store time.
func (d *FilterData) passedOver(storeMs int64, bits []byte) bool {
	return d.Bloom != nil && d.SQL != nil && storeMs > d.BornMs && len(bits) > 0 && len(bits)*8 == int(d.Bloom.BitNum) && !d.Bloom.isIn(bits)
}

// PassesUnit reports whether the bit map of a unit lets its message pass, as QUERY_CONSUME_QUEUE shows it. A pull also asks where
// messages began to have this group's bits. Apache: ExpressionMessageFilter.isMatchedByConsumeQueue.
func (d *FilterData) PassesUnit(u *ExtUnit) bool { return !d.passedOver(u.StoreTimestampMs, u.BitMap) }

// bitMap appends the bit map of a message to dst, which is empty; nil when no expression has a say in it. It does not allocate when
// dst is long enough.
func (t *Filters) bitMap(dst []byte, topic string, props []byte, storeMs int64) []byte {
	t.mu.RLock()
	list := t.byTopic[topic]
	t.mu.RUnlock()
	var bits []byte
	for _, d := range list {
		if d.SQL == nil || storeMs <= d.BornMs {
			continue
		}
		if bits == nil {
			bits = append(dst, t.zeros...)
		}
		if d.SQL.Match(props) {
			d.Bloom.addTo(bits)
		}
	}
	return bits
}

// wantsBits reports whether there are expressions for a topic; t may be nil.
func (t *Filters) wantsBits(topic string) bool {
	if t == nil {
		return false
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.byTopic[topic]) > 0
}

// follow tells the table of the log. After a stop that was not clean the file may be an older one than the bit maps of the messages
// in the log: they are not asked then.
func (t *Filters) follow(log *commitLog, clean bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log = log
	written := log.written.Load()
	for _, topics := range t.groups {
		for topic, old := range topics {
			if clean && old.fromPhys <= written {
				continue
			}
			data := *old
			data.fromPhys = written
			if !clean { // so that the next start knows, too
				data.BornMs = max(data.BornMs, log.lastMs.Load())
				if data.DeadMs != 0 {
					data.DeadMs = max(data.DeadMs, data.BornMs)
				}
			}
			topics[topic] = &data
			t.replaceLocked(old, &data)
		}
	}
}

// bornLocked sets when data that are about to be put come into effect, unless the table has the same. Whoever looked for the bits of
// a message before they are put, looked at one that is stored by then, and store times do not go back.
func (t *Filters) bornLocked(data *FilterData) {
	old := t.groups[data.Group][data.Topic]
	if old != nil && old.BornMs == data.BornMs && old.Expression == data.Expression && old.ExpressionType == data.ExpressionType {
		data.fromPhys = old.fromPhys
		return
	}
	data.BornMs, data.fromPhys = t.opts.Now().UnixMilli(), 0
	if t.log != nil {
		data.BornMs = max(data.BornMs, t.log.lastMs.Load())
	}
}

// replaceLocked keeps the lists of topics: data takes the place of old. Either may be nil.
func (t *Filters) replaceLocked(old, data *FilterData) {
	topic := ""
	if data != nil {
		topic = data.Topic
	} else {
		topic = old.Topic
	}
	list := slices.Clone(t.byTopic[topic]) // the dispatcher may be reading the other
	at := slices.Index(list, old)
	switch {
	case data == nil && at >= 0:
		list = slices.Delete(list, at, at+1)
	case data != nil && at >= 0:
		list[at] = data
	case data != nil:
		list = append(list, data)
	}
	if len(list) == 0 {
		delete(t.byTopic, topic)
		return
	}
	t.byTopic[topic] = list
}
