package store

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// passing returns the queue offsets that pass a filter.
func passing(t *testing.T, s *Store, q GetRequest) []int64 {
	t.Helper()
	got := []int64{}
	var r GetResult
	for q.MaxMsgs = 32; ; q.QueueOffset = r.NextQueueOffset {
		require.NoError(t, s.Get(&q, &r))
		for _, part := range r.Parts {
			for len(part) > 0 {
				var m codec.Message
				n, err := codec.DecodeMessage(part, &m)
				require.NoError(t, err)
				got, part = append(got, m.QueueOffset), part[n:]
			}
		}
		r.Release()
		if r.NextQueueOffset >= r.MaxQueueOffset {
			return got
		}
	}
}

// requireExtServed compares what filters pass with Apache's answers, and the tags codes of entries with the records.
func requireExtServed(t *testing.T, s *Store) {
	t.Helper()
	want := readExtras(t)
	for name, expression := range map[string]string{"G_gt": "a > 5", "G_between": "a BETWEEN 0 AND 3", "G_tag": "TAGS = 'B' AND b IS NOT NULL"} {
		for id, queue := range []string{"/0", "/1"} {
			got := passing(t, s, GetRequest{Topic: "Ext", QueueID: int32(id), SQL: mustCompileSQL(t, expression)})
			require.Equal(t, want.Filters[name+queue], got, name+queue)
		}
	}
	for id := range int32(2) {
		byTag := make(map[string][]int64)
		for i, m := range readQueue(t, s, "Ext", id, 0) {
			tag, _ := codec.Property(m.Properties, codec.PropTags)
			byTag[string(tag)] = append(byTag[string(tag)], m.QueueOffset)
			_, _, tags, ok := s.QueueEntry("Ext", id, int64(i))
			require.True(t, ok)
			require.Equal(t, codec.TagsCode(tag), tags)
			e, ok := s.EntryOf("Ext", id, int64(i))
			require.True(t, ok)
			require.Equal(t, tags, e.TagsCode)
		}
		for _, tag := range []string{"A", "B", "C"} {
			filter := NewTagFilter([]int32{int32(codec.TagsCode([]byte(tag)))})
			require.Equal(t, byTag[tag], passing(t, s, GetRequest{Topic: "Ext", QueueID: id, Filter: filter}), tag)
		}
	}
	_, _, due, ok := s.QueueEntry(TopicSchedule, 17, 0)
	require.True(t, ok)
	require.Equal(t, s.StoreTimeAt(TopicSchedule, 17, 0)+(2*time.Hour).Milliseconds(), due)
}

// Entries that hold addresses are served and filtered as if they held tags codes, with and without their units.
func TestExtOfApache(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(dir string)
	}{
		{"whole", func(string) {}},
		{"killed", func(dir string) { require.NoError(t, writeAbort(dir)) }},
		{"units lost", func(dir string) { removeAllOf(t, dir, extFolder) }},
		{"queues lost", func(dir string) { removeAllOf(t, dir, "consumequeue") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := extrasOptions(t, unpackFixture(t, fixtureExtras, ""))
			c.change(o.Dir)
			for range 2 {
				s := openTestStore(t, o)
				requireExtServed(t, s)
				require.NoError(t, s.Close())
			}
		})
	}
}

// What the units of Apache hold is what the records hold.
func TestExtUnitsAgreeWithRecords(t *testing.T) {
	t.Parallel()
	s := openTestStore(t, extrasOptions(t, unpackFixture(t, fixtureExtras, "")))
	q := s.queues.find("Ext", 0)
	units := make(map[int64][]byte)
	for _, base := range []int64{0, 4096} {
		b, err := os.ReadFile(filepath.Join(q.extDir(), segmentName(base)))
		require.NoError(t, err)
		require.Len(t, b, 4096)
		units[base] = b
	}
	for i := range q.max.Load() {
		e, ok := q.entry(i)
		require.True(t, ok)
		require.True(t, isExtAddress(e.tagsCode))
		pos := extPos(e.tagsCode)
		unit := units[pos/4096*4096][pos%4096:]
		size, bitmap := binary.BigEndian.Uint16(unit), binary.BigEndian.Uint16(unit[18:])
		require.Equal(t, 20+bitmap, size)
		require.Equal(t, s.resolve(q, e).tagsCode, int64(binary.BigEndian.Uint64(unit[2:])))
		require.Equal(t, s.StoreTimeAt("Ext", 0, i), int64(binary.BigEndian.Uint64(unit[10:])))
	}
	require.False(t, isExtAddress(math.MinInt32)) // the lowest tags code
	require.True(t, isExtAddress(math.MinInt64))
}

// New entries stand beside those with addresses.
func TestExtGoesOn(t *testing.T) {
	t.Parallel()
	o := extrasOptions(t, unpackFixture(t, fixtureExtras, ""))
	s := openTestStore(t, o)
	before := s.MaxQueueOffset("Ext", 0)
	var r PutResult
	require.NoError(t, s.PutWait(testMessage("Ext", 0, "new"), &r))
	waitDispatched(t, s)
	filter := NewTagFilter([]int32{int32(codec.TagsCode([]byte("TagA")))})
	check := func() {
		require.Equal(t, []int64{before}, passing(t, s, GetRequest{Topic: "Ext", Filter: filter}))
	}
	check()
	require.NoError(t, s.Close())
	require.NoError(t, writeAbort(o.Dir))
	s = openTestStore(t, o)
	check()
}

// Units go with what leads to them.
func TestExtIsRemoved(t *testing.T) {
	t.Parallel()
	t.Run("with the topic", func(t *testing.T) {
		t.Parallel()
		o := extrasOptions(t, unpackFixture(t, fixtureExtras, ""))
		s := openTestStore(t, o)
		require.NoError(t, s.DeleteTopic("Ext"))
		require.NoDirExists(t, filepath.Join(o.Dir, extFolder, "Ext"))
		require.DirExists(t, filepath.Join(o.Dir, extFolder, "Parent"))
	})
	t.Run("with a damaged queue", func(t *testing.T) {
		t.Parallel()
		o := extrasOptions(t, unpackFixture(t, fixtureExtras, ""))
		require.NoError(t, os.Truncate(filepath.Join(o.Dir, "consumequeue", "Ext", "0", segmentName(0)), 1001))
		s := openTestStore(t, o)
		require.NoDirExists(t, filepath.Join(o.Dir, extFolder, "Ext", "0"))
		requireExtServed(t, s)
	})
	t.Run("behind the log", func(t *testing.T) {
		t.Parallel()
		s := openTestStore(t, extrasOptions(t, unpackFixture(t, fixtureExtras, "")))
		q := s.queues.find("Ext", 0)
		files := func() (names []string) {
			list, _ := os.ReadDir(q.extDir())
			for _, f := range list {
				names = append(names, f.Name())
			}
			return names
		}
		at := func(i int64) int64 {
			e, ok := q.entry(i)
			require.True(t, ok)
			return e.physOffset
		}
		require.NoError(t, q.trimExt(at(50)))
		require.Equal(t, []string{segmentName(0), segmentName(4096)}, files())
		require.NoError(t, q.trimExt(at(150)))
		require.Equal(t, []string{segmentName(4096)}, files())
		require.NoError(t, q.trimExt(s.Written()))
		require.Empty(t, files())
	})
	t.Run("with the log", func(t *testing.T) {
		t.Parallel()
		o := extrasOptions(t, unpackFixture(t, fixtureExtras, ""))
		removeAllOf(t, o.Dir, "commitlog")
		openTestStore(t, o)
		require.NoDirExists(t, filepath.Join(o.Dir, extFolder))
	})
}
