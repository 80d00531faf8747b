package compat

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTakeOver hands one store from our broker to Apache's and back, after clean stops and after kills. Each finds what the
// other has written: messages where they lay, committed offsets, topics, groups, keys.
func TestTakeOver(t *testing.T) {
	if needTarget(t) != Apogee {
		t.Skip("needs our servers beside Apache's")
	}
	if JavaMissing() != nil {
		t.Skip("needs java and mvn")
	}
	t.Parallel()
	for _, end := range []struct {
		name string
		with func(*Target, testing.TB)
		dirs int // of the commit log
	}{
		{"after a clean stop", (*Target).StopBroker, 1},
		{"after a kill", (*Target).KillBroker, 1},
		{"with a log in three directories after a clean stop", (*Target).StopBroker, 3},
		{"with a log in three directories after a kill", (*Target).KillBroker, 3},
	} {
		t.Run(end.name, func(t *testing.T) {
			var dirs []string
			for range end.dirs {
				dirs = append(dirs, t.TempDir())
			}
			// messageIndexSafe: without it Apache's recovery forgets the keys of messages before the checkpoint.
			tg := onOwn(t, WithConf("mappedFileSizeCommitLog", "1048576"), WithConf("flushConsumerOffsetInterval", "1000"),
				WithConf("messageIndexSafe", "true"), WithConf("storePathCommitLog", strings.Join(dirs, ",")))
			besideApache(t)
			ours := tg.launch
			apache, err := newApacheLauncher()
			require.NoError(t, err)
			s := newEstate(t, tg)
			for round, next := range []launcher{apache, ours, apache, ours} {
				s.write(t, fmt.Sprint("round-", round))
				end.with(tg, t)
				tg.launch = next
				tg.StartBroker(t)
				s.check(t)
			}
			requireTurns(t, dirs, 1048576)
		})
	}
}

// requireTurns looks whether each segment lies in the directory whose turn it was, and none is empty.
func requireTurns(t *testing.T, dirs []string, segmentBytes int64) {
	t.Helper()
	slices.Sort(dirs)
	for i, dir := range dirs {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.NotEmpty(t, entries)
		for _, e := range entries {
			base, err := strconv.ParseInt(e.Name(), 10, 64)
			require.NoError(t, err)
			require.EqualValues(t, i, base/segmentBytes%int64(len(dirs)), e.Name())
		}
	}
}

// estate is what is handed over.
type estate struct {
	tg           *Target
	topic, group string
	stored       []record
	committed    int64
}

const (
	estateQueues = 3
	estateRound  = 600 // messages a round, of 1 KiB: more than one segment
)

func newEstate(t *testing.T, tg *Target) *estate {
	return &estate{tg: tg, topic: newTopic(t, tg, estateQueues), group: newGroup(t, tg)}
}

func (s *estate) write(t *testing.T, name string) {
	t.Helper()
	c := connect(t, s.tg.Broker())
	pad := string(make([]byte, 1000))
	for i := range estateRound {
		put(t, c, s.topic, i%estateQueues, fmt.Sprintf("%s-%d%s", name, i, pad), props("KEYS", fmt.Sprintf("%s-%d", name, i), "TAGS", "T"))
	}
	batch := batchBody(batchEntry{name + " one", props("TAGS", "B")}, batchEntry{name + " two", ""})
	c.ok(t, codeSendBatch, with(shortened(sendFields(s.topic, 0, "")), "m", true), batch)
	s.committed++
	c.ok(t, codeUpdateConsumerOffset, commitFields(s.group, s.topic, 1, s.committed), nil)
	eventually(t, stopTimeout, func() error { return saved(s.tg, s.topic, s.group, 1, s.committed) })
	s.stored = readTopic(t, s.tg, s.topic, estateQueues, len(s.stored)+estateRound+2)
}

func (s *estate) check(t *testing.T) {
	t.Helper()
	now := readTopic(t, s.tg, s.topic, estateQueues, len(s.stored))
	for i := range now {
		require.Equal(t, s.stored[i], now[i])
	}
	c := connect(t, s.tg.Broker())
	require.Equal(t, s.committed, num(t, c.ok(t, codeQueryConsumerOffset, offsetFields(s.group, s.topic, 1), nil), "offset"))
	for i, m := range now {
		if i%10 == 0 || len(now)-i < estateRound/3 { // readTopic read all of them through their queues
			s.requireFound(t, c, m)
		}
	}
	require.Equal(t, estateQueues, awaitRoute(t, s.tg, s.topic).QueueDatas[0].ReadQueueNums)
	require.Contains(t, string(c.ok(t, codeGetAllGroups, nil, nil).Body), `"`+s.group+`"`)
}

// requireFound asks for a message by its key, by its unique id, and by the physical offset that its message id has.
func (s *estate) requireFound(t *testing.T, c *client, want record) {
	t.Helper()
	if key := want.Props["KEYS"]; key != "" {
		require.Equal(t, []record{want}, queryFound(t, c, queryFields(s.topic, key), 1))
	}
	if id := want.Props["UNIQ_KEY"]; id != "" {
		require.Equal(t, []record{want}, queryFound(t, c, with(queryFields(s.topic, id), "_UNIQUE_KEY_QUERY", true), 1))
	}
	all, err := decodeRecords(c.ok(t, codeViewMessageByID, ext("offset", want.PhysOffset), nil).Body)
	require.NoError(t, err)
	require.Equal(t, []record{want}, all)
}
