package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// fileSpan is a file of a row: where it begins and how long it is, in bytes.
type fileSpan struct {
	path       string // empty where the name tells it
	base, size int64
}

func (s fileSpan) end() int64 { return s.base + s.size }

// layout is what lies in a store directory, by name and size. Nothing of it is open.
type layout struct {
	dir     string
	log     []fileSpan // ascending
	queues  map[queueKey]*queueSpans
	batches map[queueKey]*queueSpans // of topics with queue.type=BatchCQ
	index   []fileSpan               // oldest first
	tables  []string                 // paths below config
	strange []string                 // paths that have no business where they are
}

// queueSpans are the files of one queue.
type queueSpans struct {
	dir   string
	files []fileSpan // without paths, ascending
}

func (q *queueSpans) path(f fileSpan) string { return filepath.Join(q.dir, segmentName(f.base)) }

// at returns the file that holds the byte at pos.
func (q *queueSpans) at(pos int64) (fileSpan, bool) {
	i, found := slices.BinarySearchFunc(q.files, pos, func(f fileSpan, pos int64) int {
		switch {
		case f.end() <= pos:
			return -1
		case f.base > pos:
			return 1
		}
		return 0
	})
	if !found {
		return fileSpan{}, false
	}
	return q.files[i], true
}

// readLayout lists the store in dir; logDirs is empty for the usual place of the log. The error is ErrForeign for a store of
// another kind and errNoStore for a directory that holds none.
func readLayout(dir string, logDirs []string) (*layout, error) {
	if _, err := os.ReadDir(dir); err != nil {
		return nil, fmt.Errorf("list store directory: %w", err)
	}
	if len(logDirs) == 0 {
		logDirs = []string{filepath.Join(dir, "commitlog")}
	}
	if err := refuseForeign(dir, logDirs); err != nil {
		return nil, err
	}
	l := &layout{dir: dir, queues: make(map[queueKey]*queueSpans), batches: make(map[queueKey]*queueSpans)}
	known := false
	for _, name := range append([]string{filepath.Join(dir, "consumequeue"), filepath.Join(dir, "checkpoint")}, logDirs...) {
		_, err := os.Stat(name)
		known = known || err == nil
	}
	if !known {
		return nil, fmt.Errorf("%w: %s has neither commitlog nor consumequeue nor checkpoint", ErrNoStore, dir)
	}
	for _, d := range logDirs {
		list, err := l.spans(d)
		if err != nil {
			return nil, err
		}
		l.log = append(l.log, list...)
	}
	slices.SortFunc(l.log, func(a, b fileSpan) int { return strings.Compare(filepath.Base(a.path), filepath.Base(b.path)) })
	if err := l.readQueues(simpleKind{}, l.queues); err != nil {
		return nil, err
	}
	if err := l.readQueues(batchKind{}, l.batches); err != nil {
		return nil, err
	}
	if err := l.readIndex(); err != nil {
		return nil, err
	}
	return l, l.readTables()
}

// ErrNoStore says that a directory holds no store.
var ErrNoStore = errors.New("no store directory")

// listDir is os.ReadDir to which a missing directory is an empty one.
func listDir(path string) ([]os.DirEntry, error) {
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, wrapFileError(OpRead, path, err)
	}
	return entries, nil
}

// spans lists the files of a row with their paths.
func (l *layout) spans(dir string) (list []fileSpan, err error) {
	entries, err := listDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		base, ok := segmentBase(e.Name())
		if !ok || e.IsDir() {
			l.strange = append(l.strange, path)
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, wrapFileError(OpRead, path, err)
		}
		list = append(list, fileSpan{path, base, info.Size()})
	}
	return list, nil
}

func (l *layout) readQueues(kind queueKind, into map[queueKey]*queueSpans) error {
	root := filepath.Join(l.dir, kind.folder())
	topics, err := listDir(root)
	if err != nil {
		return err
	}
	for _, t := range topics {
		dir := filepath.Join(root, t.Name())
		if !t.IsDir() || checkTopic(t.Name()) != nil {
			l.strange = append(l.strange, dir)
			continue
		}
		ids, err := listDir(dir)
		if err != nil {
			return err
		}
		for _, d := range ids {
			id, ok := queueIDOf(d)
			if !ok {
				l.strange = append(l.strange, filepath.Join(dir, d.Name()))
				continue
			}
			q := &queueSpans{dir: filepath.Join(dir, d.Name())}
			if q.files, err = l.spans(q.dir); err != nil {
				return err
			}
			for i := range q.files {
				q.files[i].path = ""
			}
			into[queueKey{t.Name(), id}] = q
		}
	}
	return nil
}

func (l *layout) readIndex() error {
	dir := filepath.Join(l.dir, "index")
	entries, err := listDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() || !isIndexName(e.Name()) {
			l.strange = append(l.strange, path)
			continue
		}
		info, err := e.Info()
		if err != nil {
			return wrapFileError(OpRead, path, err)
		}
		l.index = append(l.index, fileSpan{path: path, size: info.Size()})
	}
	return nil
}

// readTables lists the JSON files of config, without what belongs to them: backups, and files kept aside.
func (l *layout) readTables() error {
	dir := filepath.Join(l.dir, "config")
	entries, err := listDir(dir)
	if err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), bakSuffix)
		switch {
		case e.IsDir(), strings.Contains(name, damagedSuffix), strings.HasSuffix(name, tmpSuffix), seen[name]:
		case strings.HasSuffix(name, ".json"), name == "timermetrics", name == "transactionMetrics":
			seen[name] = true
			l.tables = append(l.tables, filepath.Join(dir, name))
		}
	}
	return nil
}

// logMin is the physical offset of the first byte of the log.
func (l *layout) logMin() int64 {
	if len(l.log) == 0 {
		return 0
	}
	return l.log[0].base
}

// queueFileBytes is the length that most files of queues have, 0 when there is none.
func (l *layout) queueFileBytes() int64 {
	counts := make(map[int64]int)
	var most int64
	for _, q := range l.queues {
		for _, f := range q.files {
			counts[f.size]++
			if n := counts[f.size]; f.size > 0 && (n > counts[most] || n == counts[most] && f.size > most) {
				most = f.size
			}
		}
	}
	return most
}
