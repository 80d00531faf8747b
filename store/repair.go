package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// RepairOptions are the settings of PlanRepair and Repair.
type RepairOptions struct {
	CheckOptions
	// DelayLevels is messageDelayLevel. The default value is nil: queues of delayed messages are not made anew, since their
	// entries hold times that only the levels tell.
	DelayLevels DelayLevels
	// Now is the clock. The default value is time.Now.
	Now func() time.Time
	// Logger takes what the store says while it is opened. The default value discards.
	Logger *slog.Logger
}

// RepairStep is one thing that Repair does, or cannot do.
type RepairStep struct {
	File string `json:"file"`
	// What is done; or, when Refused, why it is not.
	What    string `json:"what"`
	Refused bool   `json:"refused"`

	apply func(r *repairer) error
}

// String returns the step in one line.
func (s RepairStep) String() string {
	if s.Refused {
		return fmt.Sprintf("left alone  %s: %s", s.File, s.What)
	}
	return fmt.Sprintf("repair      %s: %s", s.File, s.What)
}

// repairer is one run of PlanRepair or Repair.
type repairer struct {
	opts  RepairOptions
	c     *checker
	steps []RepairStep
	aside string // where files that are replaced are kept

	reopen  bool               // the store is opened, which makes anew what is missing
	rebuild map[queueKey]int64 // queues to make anew, and how long they have to be at least
}

// PlanRepair checks the store and returns what Repair would do, in its order. It changes nothing.
func PlanRepair(ctx context.Context, opts RepairOptions) (CheckReport, []RepairStep, error) {
	r, err := planRepair(ctx, opts)
	if err != nil {
		return CheckReport{}, nil, err
	}
	return r.c.report, r.steps, nil
}

// Repair does what can be done without guessing: it keeps what is damaged aside in apogee/aside, puts backups of tables
// in their place, and has queues and index made anew from the log by opening the store once. No byte of a whole record is
// changed. did is told of each step once it is done, or that it is refused. The report is that of a check afterwards.
func Repair(ctx context.Context, opts RepairOptions, did func(RepairStep)) (CheckReport, error) {
	opts.Live = false
	r, err := planRepair(ctx, opts)
	if err != nil {
		return CheckReport{}, err
	}
	if !r.c.clean && r.reopen { // what a stop left is put right first: only then it is known what else there is
		if err := r.run(RepairStep{File: "abort", What: "the store is recovered as a start does"}, did); err != nil {
			return CheckReport{}, err
		}
		if r, err = planRepair(ctx, opts); err != nil {
			return CheckReport{}, err
		}
	}
	if err := r.apply(ctx, did); err != nil {
		return CheckReport{}, fmt.Errorf("repair %s: %w", opts.Dir, err)
	}
	return Check(ctx, opts.CheckOptions)
}

func planRepair(ctx context.Context, opts RepairOptions) (*repairer, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = discardLogger()
	}
	c, err := runCheck(ctx, opts.CheckOptions)
	if err != nil {
		return nil, err
	}
	r := &repairer{opts: opts, c: c, rebuild: make(map[queueKey]int64)}
	r.aside = filepath.Join(opts.Dir, ownDir, "aside", opts.Now().UTC().Format("20060102T150405.000"))
	r.planTables()
	r.planLogEnd()
	r.planCheckpoint()
	r.planQueues()
	r.planIndex()
	r.planOpen()
	return r, nil
}

func (r *repairer) step(file, what string, apply func(r *repairer) error) {
	r.steps = append(r.steps, RepairStep{File: r.rel(file), What: what, apply: apply})
}

func (r *repairer) refuse(file, why string) {
	r.steps = append(r.steps, RepairStep{File: r.rel(file), What: why, Refused: true})
}

func (r *repairer) rel(path string) string {
	if rel, err := filepath.Rel(r.opts.Dir, path); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return path
}

func (r *repairer) damaged(path string) bool { return r.c.found.wrong(path) }

// planTables puts backups in the place of tables that cannot be read.
func (r *repairer) planTables() {
	for _, path := range r.c.files.tables {
		name := filepath.Base(path)
		_, _, err := readTable(path, name)
		if err == nil {
			if r.damaged(path) {
				r.refuse(path, "which offset is meant nobody can tell; reset it with the administration tool")
			}
			continue
		}
		if _, found, bakErr := readTable(path+bakSuffix, name); !found || bakErr != nil {
			r.refuse(path, "neither the file nor its backup can be read")
			continue
		}
		r.step(path, "its backup takes its place, the damaged file is kept aside", func(r *repairer) error {
			text, err := os.ReadFile(path + bakSuffix)
			if err != nil {
				return err
			}
			if err := r.keepAside(path); err != nil {
				return err
			}
			return writeWhole(path, text, nil)
		})
	}
	own, _ := listDir(filepath.Join(r.opts.Dir, ownDir))
	for _, e := range own {
		path := filepath.Join(r.opts.Dir, ownDir, e.Name())
		if r.damaged(path) && path != queueListPath(r.opts.Dir) {
			r.step(path, "it is kept aside; the next start does without it", func(r *repairer) error { return r.keepAside(path) })
		}
	}
}

// planLogEnd keeps a copy of what stands behind the last whole record: opening the store writes zeros over it.
func (r *repairer) planLogEnd() {
	e := r.c.end
	if e.cause == nil {
		return
	}
	r.reopen = true
	r.step(e.file.path, fmt.Sprintf("from %d on there is no whole record: the bytes are kept aside, the log ends before them", e.pos), func(r *repairer) error {
		return r.copyTail(e.file.path, e.pos)
	})
}

// planCheckpoint removes a checkpoint that cannot be right. Without one the log is read from its beginning.
func (r *repairer) planCheckpoint() {
	path := filepath.Join(r.opts.Dir, "checkpoint")
	if r.damaged(path) {
		r.reopen = true
		r.step(path, "it is kept aside, a new one is written", func(r *repairer) error { return r.keepAside(path) })
	}
}

// planQueues has queues made anew that do not agree with the log.
func (r *repairer) planQueues() {
	dirs := make(map[queueKey]*queueSpans, len(r.c.files.queues))
	maps.Copy(dirs, r.c.files.queues)
	maps.Copy(dirs, r.c.files.batches)
	for _, key := range slices.SortedFunc(maps.Keys(dirs), compareQueues) {
		damaged := r.c.queueDamaged(key)
		if end, _ := r.c.queueEnd(key); r.c.clean && r.c.list.End == r.c.end.phys && r.c.list.Queues[key.topic][key.id] > end {
			damaged = true
		}
		if damaged {
			r.planQueue(key, dirs[key].dir)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(r.c.lost), compareQueues) {
		r.planQueue(key, filepath.Join(r.opts.Dir, "consumequeue", key.topic, fmt.Sprint(key.id)))
	}
	for topic, ids := range r.c.list.Queues {
		for id := range ids {
			key := queueKey{topic, id}
			if _, there := r.c.queueEnd(key); !there && r.c.list.End == r.c.end.phys && r.c.topicKnown(topic) && r.c.lost[key] == nil {
				r.planQueue(key, filepath.Join(r.opts.Dir, "consumequeue", topic, fmt.Sprint(id)))
			}
		}
	}
}

func compareQueues(a, b queueKey) int {
	if d := strings.Compare(a.topic, b.topic); d != 0 {
		return d
	}
	return int(a.id) - int(b.id)
}

func (r *repairer) planQueue(key queueKey, dir string) {
	q := r.c.queues[key]
	switch {
	case key.topic == TopicSchedule && r.opts.DelayLevels == nil:
		r.refuse(dir, "entries of delayed messages hold times that only messageDelayLevel tells; give it with --delay-levels")
		return
	case q != nil && q.misfiled:
		r.refuse(dir, "a record in it has a damaged head, and would lose its place in a queue that is made anew")
		return
	}
	r.reopen = true
	r.rebuild[key] = 1
	r.step(dir, "the queue is kept aside and made anew from the log", func(r *repairer) error { return r.keepAside(dir) })
}

// planIndex removes damaged index files and those behind them: the index is made anew from the end of what is left.
func (r *repairer) planIndex() {
	for i, f := range r.c.files.index {
		if !r.damaged(f.path) && (i > 0 || r.c.late.before == 0) {
			continue
		}
		for _, f := range r.c.files.index[i:] {
			r.step(f.path, "the index is kept aside from here on and made anew from the log", func(r *repairer) error { return r.keepAside(f.path) })
		}
		r.reopen = true
		return
	}
}

// planOpen refuses all that would open the store when nothing vouches for what lies behind damage in the log: opening it
// would cut the log there.
func (r *repairer) planOpen() {
	if !r.reopen || r.c.damagedLog.Load() == 0 {
		return
	}
	vouched := r.c.hasTime && !r.damaged(filepath.Join(r.opts.Dir, "checkpoint")) && r.c.clean
	if vouched {
		return
	}
	r.reopen = false
	for i := range r.steps {
		s := &r.steps[i]
		if !strings.HasPrefix(s.File, "config") && !s.Refused {
			s.Refused, s.What = true, "the log is damaged in its middle, and no good checkpoint of a clean stop says that what follows belongs to it; restore the log file first"
		}
	}
}

// apply does the steps under the store's lock, then opens the store.
func (r *repairer) apply(ctx context.Context, did func(RepairStep)) error {
	lock, err := takeLock(r.opts.Dir)
	if err != nil {
		return err
	}
	for _, s := range r.steps {
		if !s.Refused {
			if err := errors.Join(stopped(ctx), s.apply(r)); err != nil {
				return errors.Join(err, lock.release())
			}
		}
		did(s)
	}
	if len(r.rebuild) > 0 {
		err = r.writeQueueList()
	}
	if err := errors.Join(err, lock.release()); err != nil || !r.reopen {
		return err
	}
	return r.open(ctx)
}

// run opens the store and tells of it.
func (r *repairer) run(s RepairStep, did func(RepairStep)) error {
	if e := r.c.end; e.cause != nil {
		if err := r.copyTail(e.file.path, e.pos); err != nil {
			return err
		}
	}
	if err := r.open(context.Background()); err != nil {
		return err
	}
	did(s)
	return nil
}

// writeQueueList names the queues that have to be there, for the next start to make anew.
func (r *repairer) writeQueueList() error {
	l := queueList{End: r.c.end.phys, Queues: make(map[string]map[int32]int64)}
	for key, n := range r.rebuild {
		if l.Queues[key.topic] == nil {
			l.Queues[key.topic] = make(map[int32]int64)
		}
		l.Queues[key.topic][key.id] = n
	}
	return l.write(r.opts.Dir, nil)
}

// keepAside moves a file or directory to where it is out of the way.
func (r *repairer) keepAside(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	to := filepath.Join(r.aside, r.rel(path))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return wrapFileError(OpCreate, to, err)
	}
	if err := os.Rename(path, to); err != nil {
		return wrapFileError(OpRename, to, err)
	}
	return errors.Join(syncDir(filepath.Dir(path)), syncDir(filepath.Dir(to)))
}

// copyTail keeps what stands in a file from pos on.
func (r *repairer) copyTail(path string, pos int64) error {
	in, err := openReader(path, windowBytes)
	if err != nil {
		return err
	}
	defer in.close()
	to := filepath.Join(r.aside, r.rel(path)+fmt.Sprintf(".from-%d", pos))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return wrapFileError(OpCreate, to, err)
	}
	out, err := os.Create(to)
	if err != nil {
		return wrapFileError(OpCreate, to, err)
	}
	defer out.Close()
	start := pos
	for pos = in.nextData(pos); pos < in.size; pos = in.nextData(pos) {
		b, err := in.bytes(pos, windowBytes)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			break
		}
		if !allZero(b) {
			if _, err := out.WriteAt(b, pos-start); err != nil {
				return wrapFileError(OpWrite, to, err)
			}
		}
		pos += int64(len(b))
	}
	if err := out.Sync(); err != nil {
		return wrapFileError(OpFlush, to, err)
	}
	return syncDir(filepath.Dir(to))
}

// open opens the store with the file sizes it has, waits until all is made anew, and closes it.
func (r *repairer) open(ctx context.Context) error {
	s, err := Open(r.storeOptions())
	if err != nil {
		return err
	}
	return errors.Join(s.awaitIndex(ctx), s.Close())
}

// storeOptions are what the directory shows of the options it was written with.
func (r *repairer) storeOptions() Options {
	c := r.c
	o := DefaultOptions(r.opts.Dir)
	o.MultiDispatch = slices.ContainsFunc(slices.Collect(maps.Keys(c.files.queues)), func(k queueKey) bool { return strings.HasPrefix(k.topic, "%LMQ%") })
	o.Now, o.Logger, o.DelayLevels = r.opts.Now, r.opts.Logger, r.opts.DelayLevels
	if dirs := r.opts.LogDirs; len(dirs) > 0 {
		o.CommitLogDir, o.MoreLogDirs = dirs[0], dirs[1:]
	}
	if n := len(c.files.log); n > 0 && c.files.log[0].size >= 4096 {
		o.SegmentBytes = c.files.log[0].size
	}
	if c.queueBytes >= entryBytes {
		o.QueueSegmentEntries = int(c.queueBytes / entryBytes)
	}
	for _, q := range c.files.batches {
		if len(q.files) > 0 && q.files[0].size >= batchEntryBytes {
			o.BatchQueueSegmentEntries = int(q.files[0].size / batchEntryBytes)
		}
	}
	o.IndexEnabled = len(c.index) > 0
	for _, x := range c.index {
		if x.capacity > 0 {
			o.IndexSlots, o.IndexEntries = int(x.slots), int(x.capacity)
		}
	}
	o.TopicExists = c.topicKnown
	o.QueueType = func(topic string) QueueType {
		if cfg := c.topics[topic]; cfg != nil {
			return QueueTypeOf(cfg)
		}
		return QueueTypeUnknown
	}
	return o
}

// awaitIndex waits until the index has caught up with the log.
func (s *Store) awaitIndex(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s.index.mu.Lock()
		done := s.index.index == nil || s.index.live
		s.index.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return stopped(ctx)
		case <-tick.C:
		}
	}
}
