package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/apogee-mq/apogee/codec"
)

// CheckOptions say what Check looks at and how.
type CheckOptions struct {
	// Dir is the root of the store.
	Dir string
	// LogDirs are the directories of the commit log. The default value is Dir/commitlog.
	LogDirs []string
	// Fast leaves out the checksums of bodies.
	Fast bool
	// Live allows a directory that another process has open. What is written meanwhile is not judged.
	Live bool
	// Workers is how many files are read at a time. The default value is the number of processors.
	Workers int
	// IndexSlots is maxHashSlotNum of index files. The default value is 0: it is found out from the files.
	IndexSlots int
	// Found is told of each finding, in no order, by one goroutine at a time. The default value ignores them.
	Found func(Finding)
	// Progress, if set, is told how many bytes are read and how many there are to read, by any goroutine.
	Progress func(done, total int64)
}

// CheckReport sums up what Check found.
type CheckReport struct {
	Dir string `json:"dir"`
	// Clean says that the last stop was a clean one.
	Clean bool `json:"clean"`
	// LogBegin and LogEnd are physical offsets: of the first byte, and behind the last record.
	LogBegin int64 `json:"logBegin"`
	LogEnd   int64 `json:"logEnd"`

	LogFiles     int   `json:"logFiles"`
	Records      int64 `json:"records"`
	Queues       int   `json:"queues"`
	QueueEntries int64 `json:"queueEntries"`
	IndexFiles   int   `json:"indexFiles"`
	IndexEntries int64 `json:"indexEntries"`
	Tables       int   `json:"tables"`

	// Notes, Repairable and Damaged are numbers of findings, those that were not listed included.
	Notes      int64 `json:"notes"`
	Repairable int64 `json:"repairable"`
	Damaged    int64 `json:"damaged"`
}

// Whole reports whether nothing is wrong with the store.
func (r CheckReport) Whole() bool { return r.Repairable == 0 && r.Damaged == 0 }

// Verdict says it in a few words.
func (r CheckReport) Verdict() string {
	switch {
	case r.Damaged > 0:
		return "damaged"
	case r.Repairable > 0:
		return "repairable"
	case !r.Clean:
		return "whole, to be recovered by the next start"
	}
	return "whole"
}

// checker is one run of Check.
type checker struct {
	opts   CheckOptions
	ctx    context.Context
	files  *layout
	found  *findings
	clean  bool
	meter  meter
	report CheckReport

	check   checkpoint
	hasTime bool                          // the checkpoint could be read
	topics  map[string]*codec.TopicConfig // nil: unknown
	system  map[string]bool               // topics of every broker
	marks   map[string]int64              // topics deleted, and where the log stood
	offsets map[string]map[int32]int64    // consumerOffset.json
	delays  map[int32]int64               // delayOffset.json
	list    queueList

	queues     map[queueKey]*queueCheck
	batches    map[queueKey]*batchCheck
	queueBytes int64 // what most files of queues have
	hasExt     bool  // there is a consumequeue_ext

	lostMu    sync.Mutex // guards lost, misfiled and stretches
	lost      map[queueKey]*lostQueue
	misfiled  map[int64]bool // records that are in another queue than they say
	stretches []span         // of the log that are damaged
	orphans   atomic.Int64   // that are kept

	index   []*indexCheck
	covered []span // of the log, by sound index files
	late    lateIndex

	walks  []logWalk // by log file
	end    logEnd
	beyond atomic.Int64 // queue entries that point behind the end of the log

	damagedLog atomic.Int64 // places in the log that hold no record although it goes on behind them
}

// span is a stretch of the log, both ends included.
type span struct{ from, to int64 }

// Check looks through a store directory, Java's or ours, without changing a byte of it: every file by itself, every record
// and its checksum, and whether log, queues, index, tables and checkpoint agree. Memory is bounded by the number of files
// and queues. The error is not about what the store holds: ErrInUse, ErrForeign, ErrNoStore, or the directory cannot be
// read.
func Check(ctx context.Context, opts CheckOptions) (CheckReport, error) {
	c, err := runCheck(ctx, opts)
	if err != nil {
		return CheckReport{}, err
	}
	return c.report, nil
}

func runCheck(ctx context.Context, opts CheckOptions) (*checker, error) {
	if opts.Workers <= 0 {
		opts.Workers = runtime.GOMAXPROCS(0)
	}
	files, err := readLayout(opts.Dir, opts.LogDirs)
	if err != nil {
		return nil, err
	}
	if err := refuseHeld(opts); err != nil {
		return nil, err
	}
	c := &checker{opts: opts, ctx: ctx, files: files, found: newFindings(opts.Dir, opts.Found)}
	c.meter.tell, c.system = opts.Progress, (&TopicsOptions{}).systemNames()
	c.lost, c.misfiled = make(map[queueKey]*lostQueue), make(map[int64]bool)
	if err := c.run(); err != nil {
		return nil, fmt.Errorf("check %s: %w", opts.Dir, err)
	}
	if err := refuseHeld(opts); err != nil {
		return nil, fmt.Errorf("the store was opened while it was checked, so the findings count for nothing: %w", err)
	}
	return c, nil
}

func refuseHeld(opts CheckOptions) error {
	held, err := lockHeld(opts.Dir)
	if err != nil || !held || opts.Live {
		return err
	}
	return fmt.Errorf("%w: %s%s", ErrInUse, opts.Dir, holderOf(opts.Dir))
}

// run looks at the small files first, since they say how to judge the large ones.
func (c *checker) run() error {
	_, err := os.Stat(abortPath(c.opts.Dir))
	c.clean = os.IsNotExist(err)
	if !c.clean {
		c.add(Note, abortPath(c.opts.Dir), -1, "the last stop was not a clean one"+holderOf(c.opts.Dir),
			"the end of the log may not be in queues and index yet", doNextRun)
	}
	for _, path := range c.files.strange {
		c.add(Note, path, -1, "no file of a store", "it is left alone", "")
	}
	c.readTables()
	c.readCheckpoint()
	c.prepareQueues()
	c.meter.start(c.files)
	for _, step := range []func() error{c.checkIndex, c.checkLog, c.checkQueues, c.checkBatchQueues, c.judgeLogEnd, c.checkTables} {
		if err := step(); err != nil {
			return err
		}
	}
	r := &c.report
	r.Dir, r.Clean = c.opts.Dir, c.clean
	r.LogBegin, r.LogEnd, r.LogFiles = c.files.logMin(), c.end.phys, len(c.files.log)
	r.IndexFiles, r.Tables = len(c.files.index), len(c.files.tables)
	r.Notes, r.Repairable, r.Damaged = c.found.count(Note), c.found.count(Derived), c.found.count(Damage)
	return nil
}

func (c *checker) add(s Severity, path string, pos int64, what, means, do string) {
	c.found.add(Finding{s, path, pos, what, means, do})
}

// unlessStopped is the severity of what a stop in the middle of work leaves, and only that.
func (c *checker) unlessStopped() (Severity, string) {
	if c.clean {
		return Derived, doRepair
	}
	return Note, doNextRun
}

// topicKnown reports whether the topic is configured, or one that brokers keep without that. Where nothing is known of
// topics, all are.
func (c *checker) topicKnown(topic string) bool {
	_, ok := c.topics[topic]
	return ok || c.topics == nil || c.system[topic] || strings.HasPrefix(topic, "%LMQ%") || strings.HasPrefix(topic, "rmq_sys_")
}

// parallel calls fn with 0 to n-1 from a few goroutines; worker is the number of the goroutine. It returns when all have
// ended, with one of the errors.
func (c *checker) parallel(n int, fn func(worker, i int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, min(c.opts.Workers, n))
	for w := range errs {
		wg.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if errs[w] = stopped(c.ctx); errs[w] == nil {
					errs[w] = fn(w, i)
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// sortedQueues are the keys of the queues in the order of their names.
func (c *checker) sortedQueues() []queueKey {
	keys := make([]queueKey, 0, len(c.queues))
	for key := range c.queues {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, compareQueues)
	return keys
}

// meter counts what is read.
type meter struct {
	tell        func(done, total int64)
	done, total atomic.Int64
}

// start adds up what there is to read.
func (m *meter) start(files *layout) {
	for _, f := range files.log {
		m.total.Add(f.size)
	}
	for _, f := range files.index {
		m.total.Add(blockBytes(f.path, f.size))
	}
	for _, q := range files.queues {
		for _, f := range q.files {
			m.total.Add(blockBytes(filepath.Join(q.dir, segmentName(f.base)), f.size))
		}
	}
}

// unit returns what counts the reads of one file, up to its size, and what says that it is done with.
func (m *meter) unit(ctx context.Context, size int64) (took func(n int) error, done func()) {
	var counted int64
	add := func(n int64) {
		n = min(n, size-counted)
		counted += n
		if sum := m.done.Add(n); m.tell != nil {
			m.tell(sum, m.total.Load())
		}
	}
	return func(n int) error { add(int64(n)); return stopped(ctx) }, func() { add(size) }
}
