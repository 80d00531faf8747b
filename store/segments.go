package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
)

// segments is the row of files of the commit log, ascending, in whatever directories they lie. Readers take the slice as it is; a change makes a new one.
// Apache: MappedFileQueue.
type segments struct {
	dirs   logDirs
	faults faultFunc

	mu   sync.Mutex // guards changes of list
	list atomic.Pointer[[]*segment]
}

// load maps all segments in the directories. An empty last file is removed: its creation was cut off.
func (l *segments) load(newBytes int64, logger *slog.Logger) error {
	l.list.Store(new([]*segment))
	for _, dir := range l.dirs.all() {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make commit log directory: %w", err)
		}
	}
	paths, others, err := l.dirs.segmentPaths()
	if err != nil {
		return err
	}
	for _, path := range others {
		logger.Warn("not a commit log segment, left alone", "path", path)
	}
	var list []*segment
	for i, path := range paths {
		seg, err := l.loadOne(path, i == len(paths)-1, list, newBytes, logger)
		if err != nil {
			releaseAll(list)
			return err
		}
		if seg != nil {
			list = append(list, seg)
		}
	}
	l.list.Store(&list)
	return nil
}

func (l *segments) loadOne(path string, last bool, before []*segment, newBytes int64, logger *slog.Logger) (*segment, error) {
	base, _ := segmentBase(filepath.Base(path))
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open commit log segment: %w", err)
	}
	var prev *segment
	if len(before) > 0 {
		prev = before[len(before)-1]
	}
	switch {
	case info.Size() == 0 && last:
		logger.Warn("empty commit log segment removed", "path", path)
		return nil, os.Remove(path)
	case info.Size() == 0:
		return nil, fmt.Errorf("%w: commit log segment %s is empty", ErrCorrupt, path)
	case prev != nil && prev.end() > base:
		return nil, fmt.Errorf("%w: commit log segments %s and %s overlap", ErrCorrupt, prev.path, path)
	case prev != nil && prev.end() < base:
		logger.Error("commit log has a gap", "from", prev.end(), "to", base)
	case prev != nil && last && info.Size() < prev.size && info.Size() != newBytes:
		// A copy that was cut short. At its full length Java accepts it too; recovery finds where the records end.
		logger.Warn("last commit log segment is short, extended", "path", path, "bytes", info.Size(), "to", prev.size)
		if err := os.Truncate(path, prev.size); err != nil {
			return nil, fmt.Errorf("extend commit log segment: %w", err)
		}
	}
	seg, err := openSegment(path, base, l.faults)
	if err == nil && !last {
		seg.readOnce()
	}
	return seg, err
}

// all returns the segments as they are now. The slice must not be changed.
func (l *segments) all() []*segment { return *l.list.Load() }

// minPhys is the first physical offset, 0 when there is no segment.
func (l *segments) minPhys() int64 {
	if list := l.all(); len(list) > 0 {
		return list[0].base
	}
	return 0
}

// find returns the segment that holds physOffset, with a reference, or nil.
func (l *segments) find(physOffset int64) *segment {
	list := l.all()
	n := len(list)
	if n == 0 {
		return nil
	}
	i := n - 1
	if list[i].base > physOffset { // most reads are of the last segment or the one before
		i = sort.Search(n, func(i int) bool { return list[i].base > physOffset }) - 1
	}
	if i < 0 || physOffset >= list[i].end() || !list[i].acquire() {
		return nil
	}
	return list[i]
}

// add puts a segment at the end.
func (l *segments) add(seg *segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := append(slices.Clone(l.all()), seg)
	l.list.Store(&list)
}

// deleteHead removes the first n segments but never the last one of all, and returns how many it removed. Each is off the disk
// before the next one goes, so that a stop in between leaves no gap. Readers keep what they hold. One goroutine at a time calls it.
func (l *segments) deleteHead(n int) (int, error) {
	for i := range n {
		list := l.all()
		if len(list) < 2 {
			return i, nil
		}
		head := list[0]
		if err := head.unlink(); err != nil {
			return i, err
		}
		l.mu.Lock()
		rest := slices.Clone(l.all()[1:]) // an append may have added one
		l.list.Store(&rest)
		l.mu.Unlock()
		head.release()
		if err := syncDir(filepath.Dir(head.path)); err != nil {
			return i + 1, err
		}
	}
	return n, nil
}

// deleteAfter removes the segments that begin at or after physOffset.
func (l *segments) deleteAfter(physOffset int64) error {
	l.mu.Lock()
	old := l.all()
	n := sort.Search(len(old), func(i int) bool { return old[i].base >= physOffset })
	list := slices.Clone(old[:n])
	l.list.Store(&list)
	l.mu.Unlock()
	return removeAll(old[n:])
}

// close drops the list's references.
func (l *segments) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.all()
	l.list.Store(new([]*segment))
	releaseAll(old)
}

func removeAll(list []*segment) error {
	var errs []error
	for _, s := range list {
		errs = append(errs, s.remove())
	}
	return errors.Join(errs...)
}

func releaseAll(list []*segment) {
	for _, s := range list {
		s.release()
	}
}
