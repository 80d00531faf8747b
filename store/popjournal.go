package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// The journal of ordered pops, apogee/poporder: what consumerOrderInfo.json and the table of offsets do not have yet. A line for each
// change of a queue, the whole of what it then is, with its checksum in front:
//
//	1c291ca3 {"c":committed offset,"g":"group","o":{as in consumerOrderInfo.json},"q":queue,"t":"topic"}
//
// A line is written before the change is answered. The journal is emptied when both files have been written; a line that is torn, and
// what follows it, was not answered.

// popJournalBytes is the size at which a Tick writes both files and empties the journal.
const popJournalBytes = 1 << 20

type popJournal struct {
	path  string // of the journal
	table *jsonFile

	mu   sync.Mutex // guards what follows; taken inside PopQueue.mu
	file *os.File
	size int64
	line []byte
	// torn says that the journal may end in half a line: nothing more is written to it.
	torn bool
	// dirty says that consumerOrderInfo.json is behind.
	dirty bool
	// orders are all last deliveries. They are replaced and never changed.
	orders map[*PopQueue]*orderInfo

	unknown codec.UnknownFields
	saving  sync.Mutex // one save at a time
}

type orderLine struct {
	Committed int64      `json:"c"`
	Group     string     `json:"g"`
	Order     *orderInfo `json:"o,omitempty"`
	QueueID   int32      `json:"q"`
	Topic     string     `json:"t"`
}

// orderFile is consumerOrderInfo.json.
type orderFile struct {
	Level string                          `json:"orderedConsumptionLevel"`
	Table map[string]map[int32]*orderInfo `json:"table"`

	Unknown codec.UnknownFields `json:"-"`
}

// oldJournal is what was the journal until a save began; it ends with the save.
const oldJournal = ".old"

// write appends what a queue is from now on, and commits where the group stands.
func (j *popJournal) write(q *PopQueue, o *orderInfo, committed int64) error {
	p := q.group.pop
	text, err := codec.MarshalStandardJSON(&orderLine{Committed: committed, Group: q.group.Group, Order: o, QueueID: q.id, Topic: q.group.Topic})
	if err != nil {
		return fmt.Errorf("journal of ordered pops: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.append(text); err != nil {
		return fmt.Errorf("journal of ordered pops: %w", err)
	}
	j.set(q, o)
	err = p.offsets.Commit([]byte(q.group.Group), []byte(q.group.Topic), q.id, committed)
	if errors.Is(err, ErrOffsetReset) { // the reset wins
		return nil
	}
	return err
}

func (j *popJournal) set(q *PopQueue, o *orderInfo) {
	j.dirty = true
	if o == nil {
		delete(j.orders, q)
	} else {
		j.orders[q] = o
	}
}

// append writes one line. The caller holds mu.
func (j *popJournal) append(text []byte) (err error) {
	if j.torn {
		return ErrReadOnly
	}
	if j.file == nil {
		if err = os.MkdirAll(filepath.Dir(j.path), 0o755); err != nil {
			return err
		}
		if j.file, err = os.OpenFile(j.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
			return err
		}
	}
	j.line = fmt.Appendf(j.line[:0], "%08x ", crc32.ChecksumIEEE(text))
	j.line = append(append(j.line, text...), '\n')
	n, err := j.file.Write(j.line)
	j.size += int64(n)
	j.torn = err != nil && n > 0
	return err
}

// readJournal returns the lines of a journal up to the first that is torn.
func readJournal(path string) (lines []orderLine, err error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("journal of ordered pops: %w", err)
	}
	for {
		line, rest, whole := bytes.Cut(text, []byte{'\n'})
		if !whole || len(line) < 9 {
			return lines, nil
		}
		sum, err := strconv.ParseUint(string(line[:8]), 16, 32)
		var l orderLine
		if err != nil || uint32(sum) != crc32.ChecksumIEEE(line[9:]) || codec.UnmarshalJSON(line[9:], &l) != nil {
			return lines, nil
		}
		lines, text = append(lines, l), rest
	}
}

// openOrders reads what is in flight of ordered pops, and leaves both files up to date and the journal empty.
func (p *Pop) openOrders() error {
	j := &p.orders.journal
	j.path = filepath.Join(p.store.opts.Dir, "apogee", "poporder")
	j.table = newJSONFile(filepath.Join(p.store.opts.Dir, "config", "consumerOrderInfo.json"), p.opts.TableOptions)
	stored, err := loadJSON[orderFile](j.table)
	if err != nil {
		return err
	}
	j.orders = make(map[*PopQueue]*orderInfo)
	if stored != nil {
		j.unknown = stored.Unknown
		for key, queues := range stored.Table {
			topic, group, ok := bytes.Cut([]byte(key), []byte{groupSeparator})
			for queueID, o := range queues {
				if ok && queueID >= 0 && o.valid() {
					q := p.Lock(topic, group, queueID)
					q.takeOrder(o)
					err := q.orderWithin()
					q.Unlock()
					if err != nil {
						return err
					}
				}
			}
		}
	}
	found := false
	for _, path := range []string{j.path + oldJournal, j.path} {
		lines, err := readJournal(path)
		if err != nil {
			return err
		}
		found = found || len(lines) > 0
		for i := range lines {
			if err := p.replayOrder(&lines[i]); err != nil {
				return err
			}
		}
	}
	if !found {
		return nil
	}
	return p.saveOrders()
}

// replayOrder takes a line in, unless Java has delivered since.
func (p *Pop) replayOrder(l *orderLine) error {
	if l.QueueID < 0 || l.Topic == "" || l.Group == "" || l.Order != nil && !l.Order.valid() {
		return nil
	}
	q := p.Lock([]byte(l.Topic), []byte(l.Group), l.QueueID)
	defer q.Unlock()
	if had := q.order; had != nil && l.Order != nil {
		if had.PopTimeMs > l.Order.PopTimeMs {
			return nil
		}
		if equalOrder(had, l.Order) {
			l.Order.Acked |= had.Acked
		}
	}
	q.takeOrder(l.Order)
	err := p.offsets.Commit([]byte(l.Group), []byte(l.Topic), l.QueueID, l.Committed)
	if err != nil && !errors.Is(err, ErrOffsetReset) {
		return err
	}
	return q.orderWithin()
}

// orderWithin takes back what was read of messages that a power cut took from the log: others will come at their offsets, and the group
// must not have passed them.
func (q *PopQueue) orderWithin() error {
	p := q.group.pop
	end := p.store.MaxQueueOffset(q.group.Topic, q.id)
	if o := q.order; o != nil && o.offset(len(o.Offsets)-1) >= end {
		q.takeOrder(nil)
	}
	group, topic := []byte(q.group.Group), []byte(q.group.Topic)
	committed, ok := p.offsets.Query(group, topic, q.id)
	if !ok || committed <= end {
		return nil
	}
	p.opts.Logger.Warn("a group was ahead of the log and goes on at the end of its queue", "topic", q.group.Topic, "queue", q.id, "group", q.group.Group,
		"from", committed, "at", end)
	if err := p.offsets.Commit(group, topic, q.id, end); err != nil && !errors.Is(err, ErrOffsetReset) {
		return err
	}
	return nil
}

// takeOrder makes what was read the queue's last delivery.
func (q *PopQueue) takeOrder(o *orderInfo) {
	p := q.group.pop
	p.orders.journal.mu.Lock()
	p.orders.journal.set(q, o)
	p.orders.journal.mu.Unlock()
	q.order = o
	p.orders.schedule(q, o)
}

// PersistOrders writes consumerOrderInfo.json if it is behind. Call it every few seconds.
func (p *Pop) PersistOrders() error {
	p.forgetOrders(p.opts.Now().Add(-orderKept).UnixMilli())
	j := &p.orders.journal
	j.mu.Lock()
	dirty, long := j.dirty, j.size > popJournalBytes || j.torn
	j.mu.Unlock()
	switch {
	case long:
		return p.saveOrders()
	case !dirty:
		return nil
	}
	j.saving.Lock()
	defer j.saving.Unlock()
	j.mu.Lock()
	file := j.content()
	j.mu.Unlock()
	return j.save(file)
}

// content is what consumerOrderInfo.json has to be. The caller holds mu.
func (j *popJournal) content() *orderFile {
	f := &orderFile{Level: "QUEUE", Table: make(map[string]map[int32]*orderInfo), Unknown: j.unknown}
	for q, o := range j.orders {
		key := q.group.Topic + string(groupSeparator) + q.group.Group
		if f.Table[key] == nil {
			f.Table[key] = make(map[int32]*orderInfo)
		}
		f.Table[key][q.id] = o
	}
	j.dirty = false
	return f
}

func (j *popJournal) save(f *orderFile) error {
	text, err := codec.MarshalPrettyJSON(f)
	if err == nil {
		err = j.table.save(text)
	}
	if err != nil {
		j.mu.Lock()
		j.dirty = true
		j.mu.Unlock()
		return fmt.Errorf("persist ordered pops: %w", err)
	}
	return nil
}

// saveOrders writes consumerOrderInfo.json and the table of offsets and begins the journal anew. What changes meanwhile goes into the
// new journal; the old one stays until both are written.
func (p *Pop) saveOrders() error {
	j := &p.orders.journal
	j.saving.Lock()
	defer j.saving.Unlock()
	j.mu.Lock()
	err := j.rotate()
	file := j.content()
	j.mu.Unlock()
	if err != nil {
		return err
	}
	if err := j.save(file); err != nil {
		return err
	}
	if err := p.offsets.Persist(); err != nil {
		return err
	}
	if err := os.Remove(j.path + oldJournal); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("journal of ordered pops: %w", err)
	}
	return nil
}

// rotate sets the journal aside. One that could not be ended before stays, and the present one goes on. The caller holds mu.
func (j *popJournal) rotate() error {
	if j.file != nil {
		if err := j.file.Close(); err != nil {
			return fmt.Errorf("journal of ordered pops: %w", err)
		}
		j.file = nil
	}
	if _, err := os.Stat(j.path + oldJournal); err == nil && !j.torn {
		return nil
	}
	err := os.Rename(j.path, j.path+oldJournal)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("journal of ordered pops: %w", err)
	}
	j.size, j.torn = 0, false
	return nil
}

// forgetOrders drops deliveries that are older than beforeMs.
func (p *Pop) forgetOrders(beforeMs int64) {
	j := &p.orders.journal
	var old []*PopQueue
	j.mu.Lock()
	for q, o := range j.orders {
		if o.LastMs < beforeMs && o.freeMs() < beforeMs {
			old = append(old, q)
		}
	}
	j.mu.Unlock()
	for _, q := range old {
		q.mu.Lock()
		if o := q.order; o != nil && o.LastMs < beforeMs {
			q.takeOrder(nil)
		}
		q.mu.Unlock()
	}
}

// closeOrders leaves both files up to date and no journal.
func (p *Pop) closeOrders() error {
	if err := p.saveOrders(); err != nil {
		return err
	}
	if err := os.Remove(p.orders.journal.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("journal of ordered pops: %w", err)
	}
	return nil
}
