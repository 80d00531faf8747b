package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// dumpText is what Dump shows of path.
func dumpText(t testing.TB, path string, opts DumpOptions) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, Dump(context.Background(), &b, path, opts))
	return b.String()
}

// dumpRows are the rows of a dump in JSON.
func dumpRows[T any](t testing.TB, path string, opts DumpOptions) (rows []T) {
	t.Helper()
	opts.JSON = true
	for line := range strings.Lines(dumpText(t, path, opts)) {
		var row T
		require.NoError(t, json.Unmarshal([]byte(line), &row), line)
		rows = append(rows, row)
	}
	return rows
}

// Every message that Apache lists of the clean directory is shown, with the same fields, and nothing else.
func TestDumpShowsWhatApacheLists(t *testing.T) {
	t.Parallel()
	type row struct {
		fixtureMessage
		PhysOffset, StoreTimestamp int64
		BodyHex                    string
		Properties                 map[string]string
		Damaged                    string
	}
	for _, name := range []string{fixtureClean, fixtureCrashed, fixtureTruncated} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := unpackFixture(t, name, "")
			want := readManifest(t, name)
			rows := dumpRows[row](t, filepath.Join(dir, "commitlog"), DumpOptions{QueueID: -1, Body: BodyHex})
			if name == fixtureTruncated {
				require.NotEmpty(t, rows[len(rows)-1].Damaged)
				rows = rows[:len(rows)-1]
			}
			require.Len(t, rows, len(want.Messages))
			for i, x := range want.Messages {
				got := rows[i]
				require.Empty(t, got.Damaged)
				require.Equal(t, x.Topic, got.Topic)
				require.Equal(t, [7]int64{x.CommitLogOffset, x.QueueOffset, x.StoreTimestamp, x.BornTimestamp, x.PreparedTransactionOffset, int64(x.Size), int64(x.BodyCRC)},
					[7]int64{got.PhysOffset, got.QueueOffset, got.StoreTimestamp, got.BornTimestamp, got.PreparedTransactionOffset, int64(got.Size), int64(got.BodyCRC)})
				require.Equal(t, [5]int32{x.QueueID, x.Magic, x.Flag, x.SysFlag, x.ReconsumeTimes},
					[5]int32{got.QueueID, got.Magic, got.Flag, got.SysFlag &^ codec.SysCompressed, got.ReconsumeTimes})
				require.Equal(t, [2]string{x.BornHost, x.StoreHost}, [2]string{got.BornHost, got.StoreHost})
				require.Equal(t, [3]string{x.Keys, x.Tags, x.UniqKey}, [3]string{got.Properties["KEYS"], got.Properties["TAGS"], got.Properties["UNIQ_KEY"]})
				body, err := hex.DecodeString(got.BodyHex)
				require.NoError(t, err)
				require.EqualValues(t, x.BodyCRC, codec.BodyCRC(body))
			}
			for key, q := range want.ConsumeQueues {
				entries := dumpRows[struct {
					QueueOffset, PhysOffset, TagsCode int64
					Size                              int64
				}](t, filepath.Join(dir, "consumequeue", key), DumpOptions{QueueID: -1})
				if name != fixtureTruncated { // which has the entry of the torn message
					require.Len(t, entries, len(q.Entries))
				}
				for i, e := range q.Entries {
					require.Equal(t, e, [3]int64{entries[i].PhysOffset, entries[i].Size, entries[i].TagsCode})
					require.EqualValues(t, i, entries[i].QueueOffset)
				}
			}
		})
	}
}

// The text of a dump. The facts in it are those of Apache's manifest.
func TestDumpText(t *testing.T) {
	t.Parallel()
	dir := unpackFixture(t, fixtureClean, "")
	first := readManifest(t, fixtureClean).Messages[0]
	for _, c := range []struct {
		path string
		opts DumpOptions
		want string
	}{
		{"commitlog/00000000000000000000", DumpOptions{Limit: 1, QueueID: -1}, fmt.Sprintf("pos=0 physOffset=0 size=%d topic=%s queueId=%d queueOffset=0 "+
			"storeTimestamp=%d storeTime=2026-11-21T01:45:22.576Z storeHost=%s bornTimestamp=%d bornHost=%s magic=%d flag=0 sysFlag=0 reconsumeTimes=0 "+
			"preparedTransactionOffset=0 bodyCRC=%d properties={MSG_REGION=DefaultRegion, UNIQ_KEY=%s, CLUSTER=FixtureCluster, TAGS=%s, KEYS=%s, WAIT=true, "+
			"TRACE_ON=true} bodyLength=15 body=\"async message 0\"\n", first.Size, first.Topic, first.QueueID, first.StoreTimestamp, first.StoreHost,
			first.BornTimestamp, first.BornHost, first.Magic, first.BodyCRC, first.UniqKey, first.Tags, first.Keys)},
		// As Apache's classes list them: 27 units, the first two, and the slots they are in.
		{"timerlog", DumpOptions{Limit: 2}, "# 00000000000000000000 (timer log)\n" +
			"position=0 pos=0 previous=-1 magic=1 roll=false delete=false writeTimestamp=1795225749000 delayMs=2000 time=2026-11-21T01:49:11.000Z physOffset=19503 size=361 topicHash=1217058163\n" +
			"position=52 pos=52 previous=-1 magic=1 roll=false delete=false writeTimestamp=1795225749000 delayMs=4000 time=2026-11-21T01:49:13.000Z physOffset=19864 size=342 topicHash=1217058163\n"},
		{"timerwheel", DumpOptions{From: 179351, Limit: 1}, "slot=179351 pos=5739232 unit=1795225751 first=0 last=0 count=1 magic=0\n"},
		{"config/timercheck", DumpOptions{}, "readTimestamp=1795228712000 readTime=2026-11-21T02:38:32.000Z timerLogPosition=1404 queueOffset=27 masterQueueOffset=27 " +
			"stateVersion=0 versionTimestamp=1795228712952 versionCounter=1211\n"},
		{"consumequeue/FxGo/0", DumpOptions{From: 1, Limit: 2, QueueID: -1}, "# 00000000000000000000 (consume queue)\n" +
			"queueOffset=1 pos=20 physOffset=2168888 size=111 tagsCode=-726516768\nqueueOffset=2 pos=40 physOffset=2168999 size=111 tagsCode=-726516768\n"},
		{"checkpoint", DumpOptions{}, "logTimeMs=1795228675916 logTime=2026-11-21T02:37:55.916Z queueTimeMs=1795228675916 queueTime=2026-11-21T02:37:55.916Z " +
			"indexTimeMs=1795228053424 indexTime=2026-11-21T02:27:33.424Z masterFlushedOffset=0 confirmedOffset=0\n"},
		{"index/20261121014522590", DumpOptions{From: 2, Limit: 2}, "beginTimestamp=1795225522576 beginTime=2026-11-21T01:45:22.576Z endTimestamp=1795226425802 " +
			"endTime=2026-11-21T02:00:25.802Z beginPhysOffset=0 endPhysOffset=933768 slotsInUse=460 indexCount=2000 slots=500\n" +
			"entry=2 pos=2080 hash=40740629 slot=129 physOffset=0 seconds=0 time=2026-11-21T01:45:22.576Z older=0\n"},
	} {
		require.Equal(t, c.want, dumpText(t, filepath.Join(dir, c.path), c.opts), c.path)
	}
	require.Equal(t, 27, strings.Count(dumpText(t, filepath.Join(dir, "timerlog"), DumpOptions{}), "position="))
	topics, err := os.ReadFile(filepath.Join(dir, "config/topics.json"))
	require.NoError(t, err)
	require.Equal(t, string(topics)+"\n", dumpText(t, filepath.Join(dir, "config/topics.json"), DumpOptions{}))
}

func TestDumpChooses(t *testing.T) {
	t.Parallel()
	dir := unpackFixture(t, fixtureClean, "")
	want := readManifest(t, fixtureClean)
	type row struct {
		Topic      string
		QueueID    int32
		PhysOffset int64
	}
	n := 0
	for _, x := range want.Messages {
		if x.Topic == "FxFill" && x.QueueID == 3 && x.CommitLogOffset >= 1100000 {
			n++
		}
	}
	rows := dumpRows[row](t, filepath.Join(dir, "commitlog"), DumpOptions{Topic: "FxFill", QueueID: 3, From: 1100000, Body: BodyNone})
	require.Len(t, rows, n)
	rows = dumpRows[row](t, filepath.Join(dir, "commitlog/00000000000000000000"), DumpOptions{QueueID: -1, From: 251, Limit: 1})
	require.Len(t, rows, 1)
	require.EqualValues(t, 251, rows[0].PhysOffset)

	// A file is known by its first bytes when it does not lie in its place.
	for path, kind := range map[string]fileKind{
		"commitlog/00000000000001048576":                          kindLog,
		"consumequeue/FxFill/1/00000000000000060000":              kindQueue,
		"consumequeue/SCHEDULE_TOPIC_XXXX/1/00000000000000000000": kindQueue,
		"config/timermetrics":                                     kindJSON,
	} {
		b, err := os.ReadFile(filepath.Join(dir, path))
		require.NoError(t, err)
		alone := filepath.Join(t.TempDir(), filepath.Base(path))
		require.NoError(t, os.WriteFile(alone, b, 0o644))
		got, err := kindOf(alone)
		require.NoError(t, err)
		require.Equal(t, kind.name, got.name, path)
	}
	_, err := kindOf("dump_test.go")
	require.ErrorIs(t, err, ErrUnknownFile)
}

// Whatever stands in a file, a dump ends without a panic.
func TestDumpSurvivesDamage(t *testing.T) {
	t.Parallel()
	dir := unpackFixture(t, fixtureClean, "")
	rnd := rand.New(rand.NewPCG(4, 4))
	paths := allFiles(t, dir)
	for range 150 {
		path := paths[rnd.IntN(len(paths))]
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		if len(b) == 0 || len(b) > 4<<20 {
			continue
		}
		broken := bytes.Clone(b[:1+rnd.IntN(len(b))])
		for range 1 + rnd.IntN(20) {
			broken[rnd.IntN(min(len(broken), 4096))] ^= 1 << rnd.IntN(8)
		}
		require.NoError(t, os.WriteFile(path, broken, 0o644))
		for _, asJSON := range []bool{false, true} {
			err := Dump(context.Background(), io.Discard, path, DumpOptions{QueueID: -1, JSON: asJSON})
			if err != nil {
				require.ErrorIs(t, err, ErrUnknownFile)
			}
		}
		require.NoError(t, os.WriteFile(path, b, 0o644))
	}
}
