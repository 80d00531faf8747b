package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// dirsWith returns the names of segments in each of the directories.
func dirsWith(t *testing.T, dirs []string) map[string][]string {
	t.Helper()
	found := make(map[string][]string)
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range entries {
			found[filepath.Base(dir)] = append(found[filepath.Base(dir)], e.Name())
		}
	}
	return found
}

func manyDirsOptions(t *testing.T, names ...string) (o Options, dirs []string) {
	o = testOptions(t)
	o.SegmentBytes = 4096
	for _, name := range names {
		dirs = append(dirs, filepath.Join(o.Dir, name))
	}
	o.CommitLogDir, o.MoreLogDirs = dirs[0], dirs[1:]
	return o, dirs
}

// putSegments puts messages until the log has n segments.
func putSegments(t *testing.T, s *Store, n int) (puts []PutResult) {
	t.Helper()
	for len(s.log.all()) < n {
		var r PutResult
		require.NoError(t, s.PutWait(testMessage("T", 0, strings.Repeat("x", 900)), &r))
		puts = append(puts, r)
	}
	waitDispatched(t, s)
	return puts
}

func requireAllThere(t *testing.T, s *Store, puts []PutResult) {
	t.Helper()
	got := readQueue(t, s, "T", 0, 0)
	require.Len(t, got, len(puts))
	for i, m := range got {
		require.Equal(t, puts[i].PhysOffset, m.PhysOffset)
	}
}

// Segments take turns by their number over the sorted directories, as Java places them.
func TestLogDirsTakeTurns(t *testing.T) {
	t.Parallel()
	o, dirs := manyDirsOptions(t, "c", "a", "b")
	s := openTestStore(t, o)
	puts := putSegments(t, s, 7)
	require.NoError(t, s.Close())
	require.Equal(t, map[string][]string{
		"a": {segmentName(0), segmentName(3 * 4096), segmentName(6 * 4096)},
		"b": {segmentName(4096), segmentName(4 * 4096)},
		"c": {segmentName(2 * 4096), segmentName(5 * 4096)},
	}, dirsWith(t, dirs))

	o.CommitLogDir, o.MoreLogDirs = dirs[2]+"/", append(o.MoreLogDirs, dirs[0]) // one is named twice
	s = openTestStore(t, o)
	requireAllThere(t, s, puts)
	require.ElementsMatch(t, dirs, s.LogDirs())
}

// What lies in a read-only directory is read; new segments go elsewhere, also when it is listed among the others.
func TestReadOnlyLogDirs(t *testing.T) {
	t.Parallel()
	o, dirs := manyDirsOptions(t, "a", "b")
	s := openTestStore(t, o)
	puts := putSegments(t, s, 4)
	require.NoError(t, s.Close())
	before := dirsWith(t, dirs)["a"]

	o.ReadOnlyLogDirs = dirs[:1]
	s = openTestStore(t, o)
	puts = append(puts, putSegments(t, s, 8)...)
	requireAllThere(t, s, puts)
	require.NoError(t, s.Close())
	require.Equal(t, before, dirsWith(t, dirs)["a"])

	o.CommitLogDir, o.MoreLogDirs = dirs[1], nil
	s = openTestStore(t, o)
	requireAllThere(t, s, puts)
	require.NoError(t, s.Close())

	o.CommitLogDir = dirs[0]
	_, err := Open(o)
	require.ErrorContains(t, err, "can be written to")
}

// A directory on a full disk is passed over, when it is known to be and when it turns out; with all of them full the log
// stops growing until there is room again.
func TestFullLogDirIsPassedOver(t *testing.T) {
	t.Parallel()
	o, dirs := manyDirsOptions(t, "a", "b", "c")
	var fs faults
	o.Faults = fs.check
	s := openTestStore(t, o)
	puts := putSegments(t, s, 2)
	s.log.dirs.setFull(dirs[2:])
	full := func(dirs ...string) func(FileOp, string) error {
		return func(op FileOp, path string) error {
			for _, dir := range dirs {
				if op == OpAllocate && filepath.Dir(path) == dir {
					return syscall.ENOSPC
				}
			}
			return nil
		}
	}
	puts = append(puts, putSegments(t, s, 6)...)
	fs.set(full(dirs[1]))
	puts = append(puts, putSegments(t, s, 9)...)
	list := s.log.all()
	for _, seg := range list[7:] {
		require.Equal(t, dirs[0], filepath.Dir(seg.path))
	}
	for _, seg := range list[3:] {
		require.NotEqual(t, dirs[2], filepath.Dir(seg.path))
	}
	fs.set(full(dirs...))
	var r PutResult
	n := 0
	require.Eventually(t, func() bool {
		err := s.PutWait(testMessage("T", 0, strings.Repeat("x", 900)), &r)
		if err == nil {
			puts = append(puts, r)
			n++
			return false
		}
		require.ErrorIs(t, err, ErrNoSpace)
		return true
	}, 10*time.Second, time.Millisecond)
	fs.set(full(dirs[:2]...)) // the one that is nearly full is better than none
	require.Eventually(t, func() bool { return s.PutWait(testMessage("T", 0, strings.Repeat("x", 900)), &r) == nil }, 10*time.Second, time.Millisecond)
	puts = append(puts, r)
	puts = append(puts, putSegments(t, s, len(s.log.all())+2)...)
	list = s.log.all()
	require.Equal(t, dirs[2], filepath.Dir(list[len(list)-1].path))
	requireAllThere(t, s, puts)
	require.NoError(t, s.Close())
	fs.set(nil)
	s = openTestStore(t, o)
	requireAllThere(t, s, puts)
}

// The directories on disks above diskSpaceCleanForciblyRatio get no new segments while others have room; the measuring tells which
// these are, and when they have room again. Puts are refused only when all disks are full.
func TestLogDirsFollowTheDisks(t *testing.T) {
	t.Parallel()
	o, dirs := manyDirsOptions(t, "a", "b", "c")
	var used [3]atomic.Int64
	o.DiskUsage = func(path string) (Disk, error) {
		for i, dir := range dirs {
			if path == dir {
				return percentDisk(used[i].Load()), nil
			}
		}
		return percentDisk(10), nil
	}
	s := openTestStore(t, o)
	puts := putSegments(t, s, 4)
	grow := func(percents ...int64) map[string]int {
		for i, n := range percents {
			used[i].Store(n)
		}
		s.cleaner.measure(s.cleaner.rules.Load())
		before := len(s.log.all()) + 1 // the next one is made already
		puts = append(puts, putSegments(t, s, before+6)...)
		made := make(map[string]int)
		for _, seg := range s.log.all()[before:] {
			made[filepath.Base(filepath.Dir(seg.path))]++
		}
		return made
	}
	require.Equal(t, map[string]int{"a": 2, "b": 2, "c": 2}, grow(84, 20, 20))
	require.Equal(t, map[string]int{"a": 3, "c": 3}, grow(50, 86, 50))
	require.Equal(t, map[string]int{"c": 6}, grow(95, 88, 50))
	require.Equal(t, map[string]int{"a": 2, "b": 2, "c": 2}, grow(50, 50, 50))
	for i := range used {
		used[i].Store(95)
	}
	s.cleaner.measure(s.cleaner.rules.Load())
	require.ErrorIs(t, s.PutWait(testMessage("T", 0, "x"), new(PutResult)), ErrNoSpace)
	requireAllThere(t, s, puts)
}

// Two files for one place of the log cannot both be right.
func TestLogDirsWithOneSegmentTwice(t *testing.T) {
	t.Parallel()
	o, dirs := manyDirsOptions(t, "a", "b")
	s := openTestStore(t, o)
	putSegments(t, s, 3)
	require.NoError(t, s.Close())
	b, err := os.ReadFile(filepath.Join(dirs[0], segmentName(0)))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dirs[1], segmentName(0)), b, 0o644))
	_, err = Open(o)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, fmt.Sprintf("%s and %s overlap", filepath.Join(dirs[0], segmentName(0)), filepath.Join(dirs[1], segmentName(0))))
}

func TestSplitLogDirs(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"/b/commitlog", "/a"}, SplitLogDirs(" /b/commitlog, /a ,"))
	require.Empty(t, SplitLogDirs(" "))
}
