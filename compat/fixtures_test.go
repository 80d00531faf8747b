package compat

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fixtures are store directories that Apache's broker 5.4.0 left behind: after a clean stop, after a SIGKILL under load, and the
// latter with the second half of its last message zeroed. Their manifests list what Apache's store reads from them.
var fixtures = []string{"clean", "crashed", "truncated-tail"}

// manifest is the part of a manifest that a client can ask a broker for.
type manifest struct {
	ConsumeQueues map[string]struct {
		MinOffset, MaxOffset int64
	}
	Messages []listed
}

// listed is a message of a manifest.
type listed struct {
	Topic, Keys, UniqKey, OffsetMsgID, RawSHA256 string
	QueueID                                      int
	QueueOffset, CommitLogOffset, StoreTimestamp int64
}

// openFixture unpacks a file of a fixture.
func openFixture(t *testing.T, fixture, name string) io.Reader {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "store", "testdata", fixture, name))
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	return z
}

// unpackStore puts the store directory of a fixture into dir.
func unpackStore(t *testing.T, fixture, dir string) {
	t.Helper()
	for r := tar.NewReader(openFixture(t, fixture, "store.tar.gz")); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		if h.Typeflag != tar.TypeReg {
			continue
		}
		path := filepath.Join(dir, h.Name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		w, err := os.Create(path)
		require.NoError(t, err)
		_, err = io.Copy(w, r)
		require.NoError(t, errors.Join(err, w.Close()))
	}
}

// startOnFixture runs a broker on a directory of Apache's, with the sizes that it was written with. Nothing is delivered by the
// clock, as far as that can be switched off: the directories are old.
func startOnFixture(t *testing.T, fixture string) *Target {
	t.Helper()
	kind := needTarget(t)
	if kind == Apogee {
		t.Parallel()
	}
	tg, err := newTarget(kind, t.TempDir(), WithNames("FixtureCluster", "broker-a"), WithConf("mappedFileSizeCommitLog", "1048576"),
		WithConf("mappedFileSizeConsumeQueue", "60000"), WithConf("maxHashSlotNum", "500"), WithConf("maxIndexNum", "2000"),
		WithConf("mappedFileSizeTimerLog", "104000"), WithConf("defaultTopicQueueNums", "4"), WithConf("traceTopicEnable", "true"),
		WithConf("fileReservedTime", "1000000"), WithConf("timerWheelEnable", "false"), WithConf("transactionCheckInterval", "3600000"),
		WithConf("maxMsgsNumBatch", "256"), WithConf("messageIndexSafe", "true"))
	require.NoError(t, err)
	unpackStore(t, fixture, tg.Dir)
	tg.run(t)
	return tg
}

// TestServesApacheDirectories asks a broker for every message of the manifests in each of the five ways that clients have, and for
// the tables.
func TestServesApacheDirectories(t *testing.T) {
	for _, fixture := range fixtures {
		t.Run(fixture, func(t *testing.T) {
			tables := t.TempDir()
			unpackStore(t, fixture, tables)
			tg := startOnFixture(t, fixture)
			var want manifest
			require.NoError(t, json.NewDecoder(openFixture(t, fixture, "manifest.json.gz")).Decode(&want))
			require.NotEmpty(t, want.Messages)
			for round := range 2 {
				if round > 0 {
					if tg.Kind == Apache {
						break
					}
					tg.StopBroker(t)
					require.NoError(t, tg.CheckStore())
					tg.StartBroker(t)
				}
				c := connect(t, tg.Broker())
				requireQueues(t, c, &want)
				requireByID(t, c, &want)
				requireByKeys(t, c, &want)
				requireTables(t, c, filepath.Join(tables, "store", "config"))
			}
		})
	}
}

// rawRecords cuts a body into records and sums each.
func rawRecords(t *testing.T, b []byte) (sums []string) {
	t.Helper()
	for len(b) > 0 {
		require.GreaterOrEqual(t, len(b), 4)
		size := int(binary.BigEndian.Uint32(b))
		require.LessOrEqual(t, size, len(b))
		sum := sha256.Sum256(b[:size])
		sums, b = append(sums, hex.EncodeToString(sum[:])), b[size:]
	}
	return sums
}

// requireQueues pulls each queue through, from its first offset to its last in the manifest.
func requireQueues(t *testing.T, c *client, want *manifest) {
	t.Helper()
	sums := map[string]map[int64]string{}
	for _, m := range want.Messages {
		name := fmt.Sprintf("%s/%d", m.Topic, m.QueueID)
		if sums[name] == nil {
			sums[name] = map[int64]string{}
		}
		sums[name][m.QueueOffset] = m.RawSHA256
	}
	for name, q := range want.ConsumeQueues {
		i := strings.LastIndexByte(name, '/')
		topic := name[:i]
		queueID, err := strconv.Atoi(name[i+1:])
		require.NoError(t, err)
		at := ext("topic", topic, "queueId", queueID)
		require.Equal(t, q.MinOffset, num(t, c.ok(t, codeGetMinOffset, at, nil), "offset"), name)
		require.GreaterOrEqual(t, num(t, c.ok(t, codeGetMaxOffset, at, nil), "offset"), q.MaxOffset, name)
		for next := q.MinOffset; next < q.MaxOffset; {
			res := c.must(t, codePullMessage, pullFields("READ_compat", topic, queueID, next), nil)
			require.Equal(t, resSuccess, res.Code, "%s at %d: %s", name, next, res.Remark)
			for _, sum := range rawRecords(t, res.Body) {
				if next < q.MaxOffset { // what has come since is not listed
					require.Equal(t, sums[name][next], sum, "%s at %d", name, next)
				}
				next++
			}
		}
	}
}

// requireByID asks for each message by its offset message id, out of which clients take the physical offset.
func requireByID(t *testing.T, c *client, want *manifest) {
	t.Helper()
	for _, m := range want.Messages {
		_, physOffset := parseMessageID(t, m.OffsetMsgID)
		require.Equal(t, m.CommitLogOffset, physOffset)
		res := c.ok(t, codeViewMessageByID, ext("offset", physOffset), nil)
		require.Equal(t, []string{m.RawSHA256}, rawRecords(t, res.Body), m.OffsetMsgID)
	}
}

// requireByKeys asks for each message by its keys, in the second it was stored in, and by its unique id.
func requireByKeys(t *testing.T, c *client, want *manifest) {
	t.Helper()
	for _, m := range want.Messages {
		for _, key := range strings.Fields(m.Keys) {
			res := c.ok(t, codeQueryMessage, ext("topic", m.Topic, "key", key, "maxNum", 256,
				"beginTimestamp", m.StoreTimestamp-1000, "endTimestamp", m.StoreTimestamp+1000), nil)
			require.Contains(t, rawRecords(t, res.Body), m.RawSHA256, "%s by key %s", m.OffsetMsgID, key)
		}
		if m.UniqKey != "" {
			res := c.ok(t, codeQueryMessage, with(queryFields(m.Topic, m.UniqKey), "maxNum", 256, "_UNIQUE_KEY_QUERY", true), nil)
			require.Contains(t, rawRecords(t, res.Body), m.RawSHA256, "%s by %s", m.OffsetMsgID, m.UniqKey)
		}
	}
}

// requireTables compares topics, groups and offsets with the JSON files that Apache's broker wrote. The broker's own groups and the
// delay levels go on by themselves, never back.
func requireTables(t *testing.T, c *client, dir string) {
	t.Helper()
	table := func(b []byte, name string) map[string]any {
		v, err := parseFastjson(b)
		require.NoError(t, err)
		all, _ := v.(map[string]any)[name].(map[string]any)
		return all
	}
	for _, x := range []struct {
		file, name string
		code       int
		same       func(key string, want, got any)
	}{
		{"topics.json", "topicConfigTable", codeGetAllTopicConfig, func(key string, want, got any) { require.Equal(t, want, got, key) }},
		{"subscriptionGroup.json", "subscriptionGroupTable", codeGetAllGroups, func(key string, want, got any) { require.Equal(t, want, got, key) }},
		{"consumerOffset.json", "offsetTable", codeGetAllConsumerOffset, func(key string, want, got any) { requireOffsets(t, key, want, got) }},
		{"delayOffset.json", "offsetTable", codeGetAllDelayOffset, func(key string, want, got any) {
			require.GreaterOrEqual(t, got, want, "delay level %s", key)
		}},
	} {
		b, err := os.ReadFile(filepath.Join(dir, x.file))
		if errors.Is(err, os.ErrNotExist) && x.code != codeGetAllTopicConfig {
			continue // the killed broker had not saved any
		}
		require.NoError(t, err)
		got := table(c.ok(t, x.code, nil, nil).Body, x.name)
		want := table(b, x.name)
		require.True(t, len(want) > 0 || x.code == codeGetAllConsumerOffset, x.file)
		for _, key := range slices.Sorted(maps.Keys(want)) {
			require.Contains(t, got, key, x.file)
			x.same(key, want[key], got[key])
		}
	}
}

func requireOffsets(t *testing.T, key string, want, got any) {
	t.Helper()
	queues, _ := got.(map[string]any)
	for id, queueOffset := range want.(map[string]any) {
		if strings.Contains(key, "@CID_RMQ_SYS_") || strings.HasPrefix(key, "rmq_sys_") || strings.HasPrefix(key, "RMQ_SYS_") {
			require.GreaterOrEqual(t, queues[id], queueOffset, "%s %s", key, id)
			continue
		}
		require.Equal(t, queueOffset, queues[id], "%s %s", key, id)
	}
}
