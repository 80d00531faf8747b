package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/apogee-mq/apogee/codec"
)

// logDirs are the directories that hold the commit log: those that get new segments in turn, and those that only keep
// what they have. Apache: MultiPathMappedFileQueue.
type logDirs struct {
	writable []string // sorted, not empty
	readOnly []string
	// full are the directories whose disks are nearly full: while there are others they get no new segment.
	full atomic.Pointer[[]string]
}

// SplitLogDirs reads a list of directories as Java writes it: separated by commas. Apache: MixAll.MULTI_PATH_SPLITTER.
func SplitLogDirs(list string) (dirs []string) {
	for dir := range strings.SplitSeq(list, ",") {
		if dir = strings.TrimSpace(dir); dir != "" {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// logDirsOf sorts the directories of the options, each once. One that is read-only gets no segments.
func logDirsOf(o *Options) (writable, readOnly []string) {
	clean := func(dirs []string) []string {
		list := slices.Clone(dirs)
		for i, dir := range list {
			list[i] = filepath.Clean(dir)
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	readOnly = clean(o.ReadOnlyLogDirs)
	for _, dir := range clean(append([]string{o.CommitLogDir}, o.MoreLogDirs...)) {
		if !slices.Contains(readOnly, dir) {
			writable = append(writable, dir)
		}
	}
	return writable, readOnly
}

// all returns every directory that may hold segments.
func (d *logDirs) all() []string { return append(slices.Clone(d.writable), d.readOnly...) }

// setFull replaces the list of directories whose disks are nearly full.
func (d *logDirs) setFull(dirs []string) { d.full.Store(&dirs) }

// places returns the directories in which the segment with this number may be made, the best first: each in its turn,
// those with room before those without.
func (d *logDirs) places(number int64) []string {
	var roomy, full []string
	list := d.full.Load()
	for _, dir := range d.writable {
		if list != nil && slices.Contains(*list, dir) {
			full = append(full, dir)
		} else {
			roomy = append(roomy, dir)
		}
	}
	return append(fromTurn(roomy, number), fromTurn(full, number)...)
}

// fromTurn begins list with the entry whose turn it is.
func fromTurn(list []string, number int64) []string {
	if len(list) == 0 {
		return nil
	}
	turn := int(number % int64(len(list)))
	return append(slices.Clone(list[turn:]), list[:turn]...)
}

// LogDirs returns the directories of the commit log, those that get no new segments last.
func (s *Store) LogDirs() []string { return s.log.dirs.all() }

// create makes the segment that begins at base, with its first readyBytes ready to be written. A directory on a full disk
// is passed over for the next one. ErrCorrupt when the log has a segment there, or a file lies there that may be one: neither is ever
// written over.
func (l *commitLog) create(base, readyBytes int64) (*segment, error) {
	for _, seg := range l.all() {
		if base < seg.end() && base+l.opts.SegmentBytes > seg.base {
			return nil, fmt.Errorf("%w: a segment of %d bytes at %d would lie over %s", ErrCorrupt, l.opts.SegmentBytes, base, seg.path)
		}
	}
	var errs []error
	for _, dir := range l.dirs.places(base / l.opts.SegmentBytes) {
		seg, err := l.createIn(dir, base, readyBytes)
		if err == nil {
			return seg, nil
		}
		errs = append(errs, err)
		if !errors.Is(err, ErrNoSpace) {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func (l *commitLog) createIn(dir string, base, readyBytes int64) (*segment, error) {
	seg, err := createNewSegment(dir, base, l.opts.SegmentBytes, l.faults)
	if errors.Is(err, os.ErrExist) {
		if err = removeUnused(filepath.Join(dir, segmentName(base)), l.faults); err == nil {
			seg, err = createNewSegment(dir, base, l.opts.SegmentBytes, l.faults)
		}
	}
	if err != nil {
		return nil, err
	}
	if err = l.extend(seg, readyBytes); err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return nil, errors.Join(err, seg.remove())
	}
	return seg, nil
}

// removeUnused deletes a file that was made for a segment and never used, as one that could not be deleted when making it had
// failed. ErrCorrupt when it begins with something.
func removeUnused(path string, faults faultFunc) error {
	old, err := os.Open(path)
	if err != nil {
		return wrapFileError(OpRead, path, err)
	}
	defer old.Close()
	head := make([]byte, codec.MaxMessageHeadBytes)
	n, err := io.ReadFull(old, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return wrapFileError(OpRead, path, err)
	}
	if !allZero(head[:n]) {
		return fmt.Errorf("%w: %s is not of this log but holds something; move it away", ErrCorrupt, path)
	}
	if err := faults.check(OpRemove, path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return wrapFileError(OpRemove, path, err)
	}
	return nil
}

// segmentPaths lists the files of all directories whose names can be segments', in the order of their positions, and the
// rest.
func (d *logDirs) segmentPaths() (paths, others []string, err error) {
	for _, dir := range d.all() {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, nil, wrapFileError(OpRead, dir, err)
		}
		for _, e := range entries {
			if _, ok := segmentBase(e.Name()); ok && !e.IsDir() {
				paths = append(paths, filepath.Join(dir, e.Name()))
			} else {
				others = append(others, filepath.Join(dir, e.Name()))
			}
		}
	}
	slices.SortFunc(paths, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	return paths, others, nil
}
