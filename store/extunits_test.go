package store

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// extended are the settings that fixtureExtras was written with.
func extended(t testing.TB, dir string) Options {
	o := extrasOptions(t, dir)
	o.ExtUnits, o.ExtSegmentBytes, o.BitMaps = true, 4096, true
	o.OpenFilters = func() (*Filters, error) {
		return OpenFilters(filepath.Join(dir, "config", "consumerFilter.json"), FiltersOptions{CleanAfter: 1 << 62})
	}
	return o
}

// filesBelow reads all files below a directory.
func filesBelow(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(b)
		return err
	}))
	return files
}

// Units and bit maps made anew from the log, or with the messages put once more, are byte for byte those of Apache's broker.
func TestExtUnitsOfApache(t *testing.T) {
	t.Parallel()
	apache := unpackFixture(t, fixtureExtras, "")
	units := filesBelow(t, filepath.Join(apache, extFolder))
	require.Len(t, units, 6)
	for _, c := range []struct {
		name   string
		remove []string
	}{
		{"all lost", []string{"consumequeue", extFolder}},
		{"entries lost", []string{"consumequeue"}},
	} {
		t.Run("made anew, "+c.name, func(t *testing.T) {
			t.Parallel()
			dir := unpackFixture(t, fixtureExtras, "")
			entries := filesBelow(t, filepath.Join(dir, "consumequeue"))
			for _, folder := range c.remove {
				removeAllOf(t, dir, folder)
			}
			s := openTestStore(t, extended(t, dir))
			requireExtServed(t, s)
			again := filesBelow(t, filepath.Join(dir, extFolder))
			require.Len(t, again, len(units))
			for name, b := range units {
				require.True(t, b == again[name], name)
			}
			made := filesBelow(t, filepath.Join(dir, "consumequeue"))
			for name, b := range entries {
				require.True(t, strings.TrimRight(b, "\x00") == strings.TrimRight(made[name], "\x00"), name)
			}
		})
	}
	t.Run("put again", func(t *testing.T) {
		t.Parallel()
		old := openTestStore(t, extrasOptions(t, unpackFixture(t, fixtureExtras, "")))
		var clock atomic.Int64
		clock.Store(1)
		o := extended(t, t.TempDir())
		o.OpenFilters = extended(t, apache).OpenFilters
		o.Now = func() time.Time { return time.UnixMilli(clock.Load()) }
		s := openTestStore(t, o)
		for id := range int32(2) {
			for _, m := range readQueue(t, old, "Ext", id, 0) {
				tag, _ := codec.Property(m.Properties, codec.PropTags)
				clock.Store(m.StoreTimestampMs)
				s.log.lastMs.Store(0) // the queues come one after the other
				var r PutResult
				again := testMessage("Ext", id, "")
				again.Properties, again.TagsCode = m.Properties, codec.TagsCode(tag)
				require.NoError(t, s.PutWait(again, &r))
				require.Equal(t, m.StoreTimestampMs, r.StoreTimestampMs)
			}
		}
		waitDispatched(t, s)
		again := filesBelow(t, filepath.Join(o.Dir, extFolder))
		require.Len(t, again, 4)
		for name, b := range again {
			require.True(t, units[name] == b, name)
		}
	})
}

// Units go on behind those of Apache.
func TestExtUnitsGoOn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir string)
		pos    int64 // of the first new unit; -1 behind Apache's, 0 where none of the queue's can ever have been
	}{
		{"whole", func(*testing.T, string) {}, -1},
		{"behind a kill", func(t *testing.T, dir string) { require.NoError(t, writeAbort(dir)) }, -1},
		{"behind units without entries", func(t *testing.T, dir string) {
			path := filepath.Join(dir, extFolder, "Ext", "0", segmentName(4096))
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			end := strings.LastIndex(string(b), "\x00\x22\x00\x00\x00\x00") + 34
			copy(b[end:], b[:100])
			require.NoError(t, os.WriteFile(path, b, 0o644))
			require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), segmentName(8192)), b, 0o644))
		}, -1},
		{"last unit damaged", func(t *testing.T, dir string) {
			changeFile(t, filepath.Join(dir, extFolder, "Ext", "0", segmentName(4096)), 0, func(b []byte) { clear(b) })
		}, 8192},
		{"last file lost", func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, extFolder, "Ext", "0", segmentName(4096))))
		}, 0},
		{"all lost", func(t *testing.T, dir string) { removeAllOf(t, dir, extFolder) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := extended(t, unpackFixture(t, fixtureExtras, ""))
			c.change(t, o.Dir)
			s := openTestStore(t, o)
			n := s.MaxQueueOffset("Ext", 0)
			last, _ := s.EntryOf("Ext", 0, n-1)
			want := map[int64]int64{-1: extPos(last.Address) + 34, 0: roundUp(n*mostUnitBytes, 4096), 8192: 8192}[c.pos]
			for range 2 {
				var r PutResult
				require.NoError(t, s.PutWait(testMessage("Ext", 0, "new"), &r))
				waitDispatched(t, s)
				e, ok := s.EntryOf("Ext", 0, r.QueueOffset)
				require.True(t, ok)
				require.NotNil(t, e.Unit)
				require.Equal(t, codec.TagsCode([]byte("TagA")), e.Unit.TagsCode)
				require.Equal(t, r.StoreTimestampMs, e.Unit.StoreTimestampMs)
				require.Len(t, e.Unit.BitMap, 14)
				require.Equal(t, want, extPos(e.Address))
				want += 34
				require.NoError(t, s.Close())
				s = openTestStore(t, o)
			}
			for i := range n {
				e, _ := s.EntryOf("Ext", 0, i)
				require.True(t, e.Unit == nil || e.Unit.TagsCode == e.TagsCode && e.Unit.StoreTimestampMs == s.StoreTimeAt("Ext", 0, i), "%d %v", i, e)
			}
		})
	}
}

// Without the option nothing is written, and light message queues and batch queues have no units.
func TestExtUnitsOfOrdinaryQueuesOnly(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	s := openTestStore(t, o)
	var r PutResult
	require.NoError(t, s.PutWait(testMessage("T", 0, "x"), &r))
	waitDispatched(t, s)
	require.NoDirExists(t, filepath.Join(o.Dir, extFolder))
	require.NoError(t, s.Close())

	o.ExtUnits, o.MultiDispatch = true, true
	o.QueueType = func(topic string) QueueType {
		if topic == "Batch" {
			return BatchQueue
		}
		return SimpleQueue
	}
	s = openTestStore(t, o)
	require.NoError(t, s.PutWait(lmqMessage("T", "x", "%LMQ%a"), &r))
	require.NoError(t, s.PutWait(testMessage("Batch", 0, "x"), &r))
	waitDispatched(t, s)
	for topic, address := range map[string]bool{"T": true, "%LMQ%a": false, "Batch": false} {
		e, ok := s.EntryOf(topic, 0, s.MaxQueueOffset(topic, 0)-1)
		require.True(t, ok)
		require.Equal(t, address, e.Address != 0, topic)
		require.Equal(t, codec.TagsCode([]byte("TagA")), e.TagsCode)
	}
	info, err := os.Stat(filepath.Join(o.Dir, extFolder, "T", "0", segmentName(roundUp(mostUnitBytes, 48<<20))))
	require.NoError(t, err)
	require.EqualValues(t, 48<<20, info.Size())
}

// extend gives the history's queues units with bit maps of groups that come and go. The table is the one of before after any stop.
func (h *history) extend(seed uint64) {
	h.o.ExtUnits, h.o.BitMaps, h.o.ExtSegmentBytes = true, true, 1024+int64(seed%7)*500
	h.filterNo = rand.New(rand.NewPCG(seed, 2))
	h.filters = NewFilters(FiltersOptions{TableOptions: TableOptions{Now: h.o.Now}})
	h.o.OpenFilters = func() (*Filters, error) { return h.filters, nil }
}

// changeFilters makes a group come, go, or change its mind.
func (h *history) changeFilters() {
	if h.filters == nil || h.filterNo.IntN(15) > 0 {
		return
	}
	group := fmt.Sprint("G", h.filterNo.IntN(5))
	if h.filterNo.IntN(4) == 0 {
		h.filters.Unregister(group)
		return
	}
	var subs []codec.SubscriptionData
	for _, topic := range []string{"T", "Orders"} {
		expression := fmt.Sprintf("text BETWEEN 1 AND 3 OR text STARTSWITH '%c' OR text STARTSWITH '%c'", 'a'+h.filterNo.IntN(26), 'a'+h.filterNo.IntN(26))
		if h.filterNo.IntN(3) == 0 {
			expression = "text IS NOT NULL"
		}
		subs = append(subs, sqlSub(topic, expression, int64(h.filterNo.IntN(3))+h.clock.Load()))
	}
	h.filters.Register(group, subs)
}

// checkUnits compares units with records, and what passes an expression with and without bit maps.
func (h *history) checkUnits(topic string, id int32) {
	t := h.t
	t.Helper()
	if h.filters == nil || topic == crashBatchTopic {
		return
	}
	for i := h.s.MinQueueOffset(topic, id); i < h.s.MaxQueueOffset(topic, id); i++ {
		e, ok := h.s.EntryOf(topic, id, i)
		require.True(t, ok)
		require.NotZero(t, e.Address)
		require.NotNil(t, e.Unit, "%s/%d %d %+v", topic, id, i, e)
		require.Equal(t, e.TagsCode, e.Unit.TagsCode)
		require.Equal(t, h.s.StoreTimeAt(topic, id, i), e.Unit.StoreTimestampMs)
	}
	for i := range 5 {
		data := h.filters.Get([]byte(fmt.Sprint("G", i)), []byte(topic))
		if data == nil {
			continue
		}
		all := passing(t, h.s, GetRequest{Topic: topic, QueueID: id, SQL: data.SQL})
		require.Equal(t, all, passing(t, h.s, GetRequest{Topic: topic, QueueID: id, SQL: data.SQL, Bits: data}), "%s of %s", data.Expression, data.Group)
	}
}

// A table of an older file than the bit maps in the log drops no message.
func TestBitMapsOfAnOlderTable(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, 2*seed+1)
			h.o.OpenFilters = func() (_ *Filters, err error) {
				h.filters, err = OpenFilters(filepath.Join(h.o.Dir, "config", "consumerFilter.json"), FiltersOptions{TableOptions: TableOptions{Now: h.o.Now}})
				return h.filters, err
			}
			h.open()
			for range 6 {
				h.run(40)
				if h.filterNo.IntN(2) == 0 {
					require.NoError(t, h.filters.Persist())
				}
				h.run(40)
				if h.filterNo.IntN(2) == 0 {
					h.crash(func(dir string) {})
				} else {
					require.NoError(t, h.filters.Close())
					require.NoError(t, h.s.Close())
				}
				h.open()
				h.checkQueues()
				h.clock.Add(-int64(h.filterNo.IntN(3000)))
			}
			require.NoError(t, h.s.Close())
		})
	}
}

// Bit maps keep most messages that do not pass from being looked at, at the cost of no allocation.
func TestBitMapsExclude(t *testing.T) {
	o := testOptions(t)
	o.ExtUnits, o.BitMaps = true, true
	filters := NewFilters(FiltersOptions{})
	o.OpenFilters = func() (*Filters, error) { return filters, nil }
	s := openTestStore(t, o)
	putNumbered(t, s, "T", 100, 10)
	filters.Register("G", []codec.SubscriptionData{sqlSub("T", "i = 7", 1)})
	data := filters.Get([]byte("G"), []byte("T"))
	require.Eventually(t, func() bool { return time.Now().UnixMilli() > data.BornMs }, time.Minute, time.Millisecond)
	putNumbered(t, s, "T", 100, 10)
	q := s.queues.find("T", 0)
	excluded := 0
	for i := range int64(200) {
		e, ok := q.entry(i)
		require.True(t, ok)
		g := getter{s: s, cq: q, q: &GetRequest{Bits: data}}
		if g.excluded(e) {
			excluded++
		}
		g.units.release()
	}
	require.Equal(t, 99, excluded)
	require.Equal(t, []int64{7, 107}, passing(t, s, GetRequest{Topic: "T", SQL: data.SQL, Bits: data}))
	require.Equal(t, []int64{7, 107}, passing(t, s, GetRequest{Topic: "T", SQL: data.SQL, Bits: data, HotOnly: true}))

	e, _ := q.entry(150)
	g := getter{s: s, cq: q, q: &GetRequest{Bits: data}}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if !g.excluded(e) {
			t.Error("not excluded")
		}
	}))
	g.units.release()
	bits, props := make([]byte, 0, 14), codec.AppendProperty(nil, "i", "7")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if got := filters.bitMap(bits, "T", props, data.BornMs+1); !data.Bloom.isIn(got) {
			t.Error("bits are missing")
		}
	}))
}
