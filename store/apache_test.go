package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// fixtureOptions are the sizes the directories under testdata were written with.
func fixtureOptions(t testing.TB, dir string) Options {
	o := testOptions(t)
	o.Dir, o.CommitLogDir = dir, ""
	o.IndexSlots, o.IndexEntries = fixtureIndexSlots, fixtureIndexEntries
	return o
}

func queueName(t testing.TB, name string) (topic string, queueID int32) {
	i := strings.LastIndexByte(name, '/')
	id, err := strconv.Atoi(name[i+1:])
	require.NoError(t, err)
	return name[:i], int32(id)
}

// requireManifest compares all that a store holds with what Apache read from the same directory.
func requireManifest(t *testing.T, s *Store, want *fixtureManifest) {
	t.Helper()
	require.Equal(t, want.CommitLogMinOffset, s.MinPhysOffset())
	require.Equal(t, want.CommitLogMaxOffset, s.MaxPhysOffset())
	require.Equal(t, want.CommitLogMaxOffset, s.Dispatched())
	requireMessages(t, s, want)
	entries := 0
	s.queues.each("", func(q *queue) {
		_, listed := want.ConsumeQueues[fmt.Sprintf("%s/%d", q.topic, q.id)]
		require.True(t, listed || q.max.Load() == 0, "%s/%d", q.topic, q.id)
		entries += int(q.max.Load())
	})
	require.Equal(t, want.ConsumeQueueEntryCount, entries)
	for name, q := range want.ConsumeQueues {
		topic, id := queueName(t, name)
		require.Equal(t, q.MinOffset, s.MinQueueOffset(topic, id), name)
		require.Equal(t, q.MaxOffset, s.MaxQueueOffset(topic, id), name)
	}
	for _, x := range want.OffsetByTimestamp {
		got := s.QueueOffsetByTime
		if x.Boundary == "UPPER" {
			got = s.QueueOffsetByTimeUpper
		}
		require.Equal(t, x.Offset, got(x.Topic, x.QueueID, x.Timestamp), "%+v", x)
	}
	for _, x := range want.KeyQueries {
		got, _, _, err := s.QueryIndex(x.Topic, x.Key, x.MaxNum, 0, 1<<62)
		require.NoError(t, err)
		require.ElementsMatch(t, x.CommitLogOffsets, got, "%+v", x)
	}
}

// requireMessages compares every listed message, by physical offset and through its queue.
func requireMessages(t *testing.T, s *Store, want *fixtureManifest) {
	t.Helper()
	for _, x := range want.Messages {
		raw, err := s.MessageAt(x.CommitLogOffset)
		require.NoError(t, err)
		sum := sha256.Sum256(raw)
		require.Equal(t, x.RawSHA256, hex.EncodeToString(sum[:]))
		var m codec.Message
		n, err := codec.DecodeMessage(raw, &m)
		require.NoError(t, err)
		require.EqualValues(t, x.Size, n)
		require.NoError(t, m.CheckBody())
		got := fixtureMessage{
			Topic: string(m.Topic), Keys: x.Keys, Tags: x.Tags, UniqKey: x.UniqKey, RawSHA256: x.RawSHA256,
			CommitLogOffset: m.PhysOffset, StoreTimestamp: m.StoreTimestampMs, QueueID: m.QueueID, Size: m.TotalSizeBytes,
			Magic: int32(m.Magic), Flag: m.Flag, SysFlag: m.SysFlag &^ codec.SysCompressed, ReconsumeTimes: m.ReconsumeTimes, BodyCRC: m.BodyCRC,
			QueueOffset: m.QueueOffset, BornTimestamp: m.BornTimestampMs, PreparedTransactionOffset: m.PreparedTransactionOffset,
			BornHost: m.BornHost.String(), StoreHost: m.StoreHost.String(),
			OffsetMsgID: strings.ToUpper(hex.EncodeToString(binary.BigEndian.AppendUint64(codec.AppendHost(nil, m.StoreHost, false), uint64(m.PhysOffset)))),
		}
		require.Equal(t, x, got) // Apache listed the messages decompressed
	}
	for name, q := range want.ConsumeQueues {
		topic, id := queueName(t, name)
		list := readQueue(t, s, topic, id, 0)
		for i, e := range q.Entries {
			phys, size, tags, ok := s.QueueEntry(topic, id, int64(i))
			require.True(t, ok)
			require.Equal(t, e, [3]int64{phys, int64(size), tags}, "%s %d", name, i)
			require.Equal(t, e[0], list[i].PhysOffset)
			require.Equal(t, list[i].StoreTimestampMs, s.StoreTimeAt(topic, id, int64(i)))
		}
	}
}

func TestOpensApacheDirectories(t *testing.T) {
	t.Parallel()
	for _, name := range []string{fixtureClean, fixtureCrashed, fixtureTruncated} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := fixtureOptions(t, unpackFixture(t, name, ""))
			want := readManifest(t, name)
			for range 3 { // Apache's stop, then ours
				s := openTestStore(t, o)
				require.FileExists(t, abortPath(o.Dir))
				requireManifest(t, s, want)
				require.NoError(t, s.Close())
				require.NoFileExists(t, abortPath(o.Dir))
			}
		})
	}
}

func TestContinuesApacheDirectories(t *testing.T) {
	t.Parallel()
	for _, name := range []string{fixtureClean, fixtureCrashed, fixtureTruncated} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := fixtureOptions(t, unpackFixture(t, name, ""))
			want := readManifest(t, name)
			s := openTestStore(t, o)
			before := s.MaxQueueOffset("FxFill", 1)
			const n = 5000
			for i := range n {
				var r PutResult
				require.NoError(t, s.PutWait(testMessage("FxFill", 1, fmt.Sprint("more-", i)), &r))
				require.Equal(t, before+int64(i), r.QueueOffset)
				require.NoError(t, s.PutWait(testMessage("FxNew", 0, fmt.Sprint("new-", i)), &r))
				require.EqualValues(t, i, r.QueueOffset)
			}
			check := func(s *Store) {
				waitDispatched(t, s)
				requireMessages(t, s, want)
				list := readQueue(t, s, "FxFill", 1, before)
				require.Len(t, list, n)
				require.Equal(t, "more-4999", string(list[n-1].Body))
				require.Len(t, readQueue(t, s, "FxNew", 0, 0), n)
				got, _, _, err := s.QueryIndex("FxNew", "Unew-77", 32, 0, 1<<62)
				require.NoError(t, err)
				require.Contains(t, got, readQueue(t, s, "FxNew", 0, 77)[0].PhysOffset)
			}
			check(s)
			require.NoError(t, s.Close())
			check(openTestStore(t, o))
		})
	}
}

// What is missing is made anew from the log, with the same entries as Apache's.
func TestRebuildsWhatIsMissing(t *testing.T) {
	t.Parallel()
	remove := func(names ...string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			for _, name := range names {
				require.NoError(t, os.RemoveAll(filepath.Join(dir, name)))
			}
		}
	}
	for _, c := range []struct {
		name, fixture string
		change        func(t *testing.T, dir string)
	}{
		{"all derived", fixtureCrashed, remove("consumequeue", "index", "checkpoint")},
		{"queues", fixtureCrashed, remove("consumequeue")},
		{"one queue", fixtureCrashed, remove("consumequeue/FxCrashB/3")},
		{"checkpoint", fixtureTruncated, remove("checkpoint")},
		{"queues after a clean stop", fixtureClean, remove("consumequeue")},
		{"all derived after a clean stop", fixtureClean, remove("consumequeue", "index", "checkpoint")},
		{"queue file of an odd size", fixtureClean, func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "consumequeue/FxFill/1/00000000000000000000"), 59999))
		}},
		{"first queue file", fixtureClean, remove("consumequeue/FxFill/1/00000000000000000000")},
		{"second queue file after our stop", fixtureClean, func(t *testing.T, dir string) {
			require.NoError(t, openTestStore(t, fixtureOptions(t, dir)).Close())
			remove("consumequeue/FxFill/1/00000000000000060000")(t, dir)
		}},
		{"queue after our stop", fixtureClean, func(t *testing.T, dir string) {
			require.NoError(t, openTestStore(t, fixtureOptions(t, dir)).Close())
			remove("consumequeue/FxGo")(t, dir)
		}},
		{"index after our stop", fixtureClean, func(t *testing.T, dir string) {
			require.NoError(t, openTestStore(t, fixtureOptions(t, dir)).Close())
			remove("index")(t, dir)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := unpackFixture(t, c.fixture, "")
			c.change(t, dir)
			o := fixtureOptions(t, dir)
			// A topic that was deleted before Apache stopped: only its configuration says so.
			o.TopicExists = func(topic string) bool { return topic != "FxAcl" }
			s := openTestStore(t, o)
			requireManifest(t, s, readManifest(t, c.fixture))
		})
	}
}
