package store

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// fixtureBatch is a directory that Apache's broker 5.4.0 wrote over two runs and stopped cleanly: two queues of FxBatch, with
// queue.type=BatchCQ and 10 entries a file, take inner batches, single messages and batches without a key of the whole;
// FxPlain is an ordinary topic. manifest.json.gz is what the same broker answered at the end to pulls from every offset
// (11), QUERY_CONSUME_QUEUE (321), VIEW_MESSAGE_BY_ID (33), QUERY_MESSAGE (12) and SEARCH_OFFSET_BY_TIMESTAMP (29).
const fixtureBatch = "batch"

type batchManifest struct {
	Pulls []struct {
		Topic                  string
		QueueID                int32
		Offset, Next, Min, Max int64
		Status, SHA256         string
	}
	Entries map[string][]struct {
		PhysicOffset, TagsCode int64
		PhysicSize             int32
	}
	ByTime []struct {
		QueueID           int32
		Timestamp, Offset int64
	}
	ByPhys map[string]string
	Keys   []struct {
		Topic, Key  string
		PhysOffsets []int64
	}
}

func readBatchManifest(t testing.TB) *batchManifest {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", fixtureBatch, "manifest.json.gz"))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	m := new(batchManifest)
	require.NoError(t, json.NewDecoder(z).Decode(m))
	return m
}

func batchFixtureOptions(t testing.TB, dir string) Options {
	o := fixtureOptions(t, dir)
	o.BatchQueueSegmentEntries = 10
	o.QueueType = func(topic string) QueueType {
		if topic == "FxBatch" {
			return BatchQueue
		}
		return SimpleQueue
	}
	return o
}

// requireBatchManifest compares all that a store holds with what Apache answered.
func requireBatchManifest(t *testing.T, s *Store, want *batchManifest) {
	t.Helper()
	for _, p := range want.Pulls {
		var r GetResult
		require.NoError(t, s.Get(&GetRequest{Topic: p.Topic, QueueID: p.QueueID, QueueOffset: p.Offset, MaxMsgs: 32}, &r))
		sum := sha256.New()
		for _, part := range r.Parts {
			sum.Write(part)
		}
		r.Release()
		require.Equal(t, []any{p.Status, p.Next, p.Min, p.Max, p.SHA256},
			[]any{r.Status.String(), r.NextQueueOffset, r.MinQueueOffset, r.MaxQueueOffset, hex.EncodeToString(sum.Sum(nil))}, "%+v", p)
	}
	for name, list := range want.Entries {
		topic, id := queueName(t, name)
		at := int64(0)
		for _, x := range list {
			e, ok := s.EntryOf(topic, id, at)
			require.True(t, ok)
			require.Equal(t, Entry{PhysOffset: x.PhysicOffset, SizeBytes: x.PhysicSize, TagsCode: x.TagsCode, QueueOffset: at, End: e.End}, e)
			at = e.End
		}
		require.Equal(t, at, s.MaxQueueOffset(topic, id))
	}
	for phys, sum := range want.ByPhys {
		at, err := strconv.ParseInt(phys, 10, 64)
		require.NoError(t, err)
		raw, err := s.MessageAt(at)
		require.NoError(t, err)
		got := sha256.Sum256(raw)
		require.Equal(t, sum, hex.EncodeToString(got[:]))
	}
	for _, x := range want.ByTime {
		require.Equal(t, x.Offset, s.QueueOffsetByTime("FxBatch", x.QueueID, x.Timestamp), "%+v", x)
	}
	for _, x := range want.Keys {
		got, _, _, err := s.QueryIndex(x.Topic, x.Key, 32, 0, 1<<62)
		require.NoError(t, err)
		require.ElementsMatch(t, x.PhysOffsets, onlyTopic(t, s, x.Topic, x.Key, got), "%+v", x)
	}
}

// onlyTopic leaves out what shares a hash with the key.
func onlyTopic(t testing.TB, s *Store, topic, key string, physOffsets []int64) (list []int64) {
	for _, at := range physOffsets {
		raw, err := s.MessageAt(at)
		require.NoError(t, err)
		var m codec.Message
		_, err = codec.DecodeMessage(raw, &m)
		require.NoError(t, err)
		if keys, _ := codec.Property(m.Properties, codec.PropKeys); string(m.Topic) == topic && string(keys) == key {
			list = append(list, at)
		}
	}
	return list
}

// Whatever is missing or damaged of Apache's directory, everything is served as Apache serves it.
func TestServesApachesBatchQueues(t *testing.T) {
	t.Parallel()
	want := readBatchManifest(t)
	const first = "batchconsumequeue/FxBatch/0/00000000000000000000"
	for name, change := range map[string]func(t *testing.T, dir string){
		"as it was left": func(*testing.T, string) {},
		"after a crash": func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "abort"), nil, 0o644))
		},
		"without batch queues after our stop": func(t *testing.T, dir string) {
			require.NoError(t, openTestStore(t, batchFixtureOptions(t, dir)).Close())
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "batchconsumequeue")))
		},
		"without one queue": func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "abort"), nil, 0o644))
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "batchconsumequeue/FxBatch/1")))
		},
		"without all that is derived": func(t *testing.T, dir string) {
			for _, part := range []string{"batchconsumequeue", "consumequeue", "index", "checkpoint"} {
				require.NoError(t, os.RemoveAll(filepath.Join(dir, part)))
			}
		},
		"without the first file": func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, first))) },
		"with a file cut off":    func(t *testing.T, dir string) { require.NoError(t, os.Truncate(filepath.Join(dir, first), 200)) },
		"with queues of the wrong type": func(t *testing.T, dir string) {
			require.NoError(t, os.Rename(filepath.Join(dir, "batchconsumequeue/FxBatch"), filepath.Join(dir, "consumequeue/FxBatch")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := unpackFixture(t, fixtureBatch, "")
			change(t, dir)
			o := batchFixtureOptions(t, dir)
			for range 2 { // Apache's stop, then ours
				s := openTestStore(t, o)
				requireBatchManifest(t, s, want)
				require.NoError(t, s.Close())
				require.NoDirExists(t, filepath.Join(dir, "consumequeue/FxBatch"))
			}
			s := openTestStore(t, o)
			before := s.MaxQueueOffset("FxBatch", 0)
			m := innerBatch(0, "more", 3)
			m.Topic = "FxBatch"
			var r PutResult
			require.NoError(t, s.PutWait(m, &r))
			require.Equal(t, before, r.QueueOffset)
			waitDispatched(t, s)
			require.Equal(t, before+3, s.MaxQueueOffset("FxBatch", 0))
			list := readQueue(t, s, "FxBatch", 0, before)
			require.Len(t, list, 1)
			require.Equal(t, fmt.Sprint(before), innerBase(list[0].Properties))
		})
	}
}

func innerBase(props []byte) string {
	base, _ := codec.Property(props, codec.PropInnerBase)
	return string(base)
}

// The queues made anew from the log are byte for byte those of Apache.
func TestBatchQueueFilesAreApaches(t *testing.T) {
	t.Parallel()
	apache, dir := unpackFixture(t, fixtureBatch, ""), unpackFixture(t, fixtureBatch, "")
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "batchconsumequeue")))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "consumequeue")))
	require.NoError(t, openTestStore(t, batchFixtureOptions(t, dir)).Close())
	names, err := filepath.Glob(filepath.Join(apache, "batchconsumequeue/*/*/*"))
	require.NoError(t, err)
	require.Len(t, names, 10)
	for _, name := range names {
		want, err := os.ReadFile(name)
		require.NoError(t, err)
		rel, err := filepath.Rel(apache, name)
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(dir, rel))
		require.NoError(t, err)
		require.Equal(t, want, got, rel)
	}
}
