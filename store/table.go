package store

import (
	"fmt"
	"log/slog"
	"maps"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// TableOptions are what the tables (topics, groups, offsets, delay offsets) have in common. Nil members take their
// defaults.
type TableOptions struct {
	// Now is the clock. The default value is time.Now.
	Now func() time.Time
	// Faults, if set, is asked before each file operation that may fail. The default value is nil.
	Faults func(op FileOp, path string) error
	// Logger takes what happens. The default value discards.
	Logger *slog.Logger
}

func (o *TableOptions) fill() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = discardLogger()
	}
}

const (
	// maxTableNames bounds topics and groups, which clients may create.
	maxTableNames = 1 << 20
	// lingerTime is how long a change that nobody waits for waits for more of its kind, or lingerWrites times as long as
	// the last write took, if that is more: a table that grows to many names must not be written all the time.
	lingerTime   = 50 * time.Millisecond
	lingerWrites = 4
	// saveRetryTime is how long to wait after a write that nobody waits for went wrong.
	saveRetryTime = time.Second
)

// confTable is a table of immutable values by name, kept in a JSON file by a goroutine of its own.
//
// Lookups take no lock. A change is staged in the next batch; the
// goroutine takes the batch, writes the whole table with it, publishes it in names and closes the batch's done.
// So a change is seen only when it is on disk, and all changes that come while a write runs share the next one. What
// may be lost is published at once by putNow and written soon.
type confTable[V any] struct {
	file *jsonFile
	text tableText[V] // of the file; the goroutine's
	// whole is the object that the file holds. It is called from the goroutine, without mu.
	whole func(values map[string]*V, version codec.DataVersion) any
	// onChange is called without mu after values were published; nil stands for a deleted one.
	onChange func(map[string]*V)

	names Names[V] // the published values
	// version is that of names; stored under mu.
	version atomic.Pointer[codec.DataVersion]

	mu      sync.Mutex      // guards what follows, and every change of what stands above
	next    *batch[V]       // staged
	writing *batch[V]       // being written
	dirty   bool            // published but not written
	unseen  map[string]bool // published since text was made, by putNow; nil when text knows nothing yet
	closed  bool

	wake chan struct{} // holds one token
	stop chan struct{}
	done chan struct{}
	took time.Duration // by the last write; the goroutine's
}

// batch is a set of changes that go to disk together. A nil value is a deletion. err is set before done is closed.
type batch[V any] struct {
	changes map[string]*V
	done    chan struct{}
	err     error
}

func (b *batch[V]) wait() error {
	<-b.done
	return b.err
}

func newConfTable[V any](file *jsonFile, values map[string]*V, version codec.DataVersion) *confTable[V] {
	t := &confTable[V]{
		file: file,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	t.names.fill(values)
	t.version.Store(&version)
	return t
}

// get returns a published value or nil.
func (t *confTable[V]) get(name string) *V { return t.names.Get(NameOf(name)) }

func (t *confTable[V]) getBytes(name []byte) *V { return t.names.Get(NameOfBytes(name)) }

// snapshot returns the published values, a map of the caller's, with their version.
func (t *confTable[V]) snapshot() (map[string]*V, codec.DataVersion) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.copyLocked(), *t.version.Load()
}

func (t *confTable[V]) copyLocked() map[string]*V {
	values := make(map[string]*V, t.names.Len())
	maps.Insert(values, t.names.All())
	return values
}

// sorted returns the published values in the order of their names.
func (t *confTable[V]) sorted() []*V {
	values, _ := t.snapshot()
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	list := make([]*V, len(names))
	for i, name := range names {
		list[i] = values[name]
	}
	return list
}

// latestLocked returns the value a name has or will have, and the batch that brings it, if one does.
func (t *confTable[V]) latestLocked(name string) (*V, *batch[V]) {
	for _, b := range []*batch[V]{t.next, t.writing} {
		if b == nil {
			continue
		}
		if v, ok := b.changes[name]; ok {
			return v, b
		}
	}
	return t.get(name), nil
}

// stageLocked puts a change into the next batch.
func (t *confTable[V]) stageLocked(name string, v *V) *batch[V] {
	b := t.batchLocked()
	if b.err == nil {
		b.changes[name] = v
	}
	return b
}

// batchLocked returns the batch that the next write takes; after Close one that has ended with ErrClosed.
func (t *confTable[V]) batchLocked() *batch[V] {
	if t.closed {
		b := &batch[V]{done: make(chan struct{}), err: ErrClosed}
		close(b.done)
		return b
	}
	if t.next == nil {
		t.next = &batch[V]{changes: make(map[string]*V), done: make(chan struct{})}
	}
	t.poke()
	return t.next
}

// roomLocked refuses a new name when the table is at its bound.
func (t *confTable[V]) roomLocked() error {
	names := t.names.Len()
	if t.next != nil {
		names += len(t.next.changes)
	}
	if t.writing != nil {
		names += len(t.writing.changes)
	}
	if names >= maxTableNames {
		return fmt.Errorf("%w: %d names in %s", ErrTableFull, names, t.file.path)
	}
	return nil
}

// putNowLocked publishes a value before it is written.
func (t *confTable[V]) putNowLocked(name string, v *V) {
	t.names.Set(name, v)
	if t.unseen != nil {
		t.unseen[name] = true
	}
	t.bumpLocked(1)
	t.dirty = true
	t.poke()
}

// bumpLocked moves the version by a number of changes. Apache: DataVersion.nextVersion, once a change.
func (t *confTable[V]) bumpLocked(changes int) {
	version := t.nextVersion(changes)
	t.version.Store(&version)
}

func (t *confTable[V]) nextVersion(changes int) codec.DataVersion {
	version := *t.version.Load()
	if changes > 0 {
		version = version.Next(0, t.file.opts.Now().UnixMilli())
		version.Counter += int64(changes - 1)
	}
	return version
}

func (t *confTable[V]) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// start begins the goroutine; text.member and whole must be set. With dirty the table is written soon.
func (t *confTable[V]) start(dirty bool) {
	t.dirty = dirty
	if dirty {
		t.poke()
	}
	go t.run()
}

// close writes what is left and waits for the goroutine.
func (t *confTable[V]) close() error {
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	t.mu.Unlock()
	if first {
		close(t.stop)
	}
	<-t.done
	if !first {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dirty {
		return fmt.Errorf("%s was not written", t.file.path)
	}
	return nil
}

// run writes batches until close.
func (t *confTable[V]) run() {
	defer close(t.done)
	pause := time.NewTimer(time.Hour)
	defer pause.Stop()
	for {
		select {
		case <-t.wake:
		case <-pause.C:
		case <-t.stop:
			t.write()
			return
		}
		if !t.linger(pause) {
			t.write()
			return
		}
		pause.Reset(time.Hour)
		begin := time.Now()
		if err := t.write(); err != nil {
			pause.Reset(saveRetryTime)
		}
		t.took = time.Since(begin)
	}
}

// linger waits until somebody waits for the write or lingerTime is over; false when the table closes.
func (t *confTable[V]) linger(pause *time.Timer) bool {
	pause.Reset(max(lingerTime, lingerWrites*t.took))
	for !t.waitedFor() {
		select {
		case <-t.wake:
		case <-pause.C:
			return true
		case <-t.stop:
			return false
		}
	}
	return true
}

func (t *confTable[V]) waitedFor() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next != nil
}

// write takes the next batch, writes the table with it and publishes it. The changes of a batch that could not be
// written are gone, as those who wait for it are told; what was published before stays dirty.
func (t *confTable[V]) write() error {
	t.mu.Lock()
	b := t.next
	if b == nil && !t.dirty {
		t.mu.Unlock()
		return nil
	}
	t.next, t.writing, t.dirty = nil, b, false
	changes := t.changesLocked(b)
	before := t.version.Load()
	version := *before
	if b != nil {
		version = t.nextVersion(len(b.changes))
	}
	t.mu.Unlock()

	t.text.change(changes)
	text, err := t.text.encode(func(values map[string]*V) any { return t.whole(values, version) })
	if err == nil {
		err = t.file.save(text)
	}
	t.mu.Lock()
	if b != nil && err == nil {
		if t.version.Load() != before { // putNow came between: the file is behind, and dirty says so
			version = t.nextVersion(len(b.changes))
		}
		t.version.Store(&version)
	}
	t.finishLocked(b, err)
	t.mu.Unlock()
	t.tell(b, err)
	return err
}

// changesLocked is what text has to take over: all that is published, to begin with, or what putNow has published since then; and a
// batch's changes.
func (t *confTable[V]) changesLocked(b *batch[V]) map[string]*V {
	var changes map[string]*V
	if t.unseen == nil {
		changes = t.copyLocked()
	} else {
		changes = make(map[string]*V, len(t.unseen))
		for name := range t.unseen {
			changes[name] = t.get(name)
		}
	}
	t.unseen = make(map[string]bool)
	if b != nil {
		maps.Copy(changes, b.changes)
	}
	return changes
}

func (t *confTable[V]) finishLocked(b *batch[V], err error) {
	t.writing = nil
	if err != nil {
		t.text.reset() // it holds what did not happen
		t.unseen, t.dirty = nil, true
		t.file.opts.Logger.Error("table could not be written", "file", t.file.path, "error", err)
	} else if b != nil {
		for name, v := range b.changes {
			t.names.Set(name, v)
		}
	}
}

// tell lets those who wait for a batch go on.
func (t *confTable[V]) tell(b *batch[V], err error) {
	if b == nil {
		return
	}
	if err == nil && t.onChange != nil && len(b.changes) > 0 {
		t.onChange(b.changes)
	}
	b.err = err
	close(b.done)
}

// checkName refuses names that would leave their folder as a file name.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%w: name %q", ErrIllegal, name)
	}
	return nil
}
