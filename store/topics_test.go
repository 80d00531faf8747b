package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func testTopicsOptions() TopicsOptions {
	return TopicsOptions{
		Cluster: "FixtureCluster", Broker: "broker-a", AutoCreate: true, DefaultQueueNums: 4, ClusterTopic: true,
		BrokerTopic: true, TraceTopic: true, TraceTopicName: TopicTrace,
	}
}

func openTestTopics(t testing.TB, path string, opts TopicsOptions) *Topics {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "config", "topics.json")
	}
	topics, err := OpenTopics(path, opts)
	require.NoError(t, err)
	return topics
}

// readTopics reads a file with nothing of ours.
func readTopics(t testing.TB, path string) map[string]map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var f struct {
		TopicConfigTable map[string]map[string]any
	}
	require.NoError(t, json.Unmarshal(text, &f))
	return f.TopicConfigTable
}

func TestTopicsOfAFreshBrokerAreJavas(t *testing.T) {
	t.Parallel()
	java := readTopics(t, filepath.Join(unpackFixture(t, fixtureClean, "config/topics.json"), "config", "topics.json"))
	path := filepath.Join(t.TempDir(), "config", "topics.json")
	topics := openTestTopics(t, path, testTopicsOptions())
	require.NoError(t, topics.Close())
	ours := readTopics(t, path)

	// Java 5.4.0 makes these for an engine that is not ours.
	delete(java, "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC")
	delete(java, "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC")
	for name := range java {
		switch {
		case strings.HasPrefix(name, "%"), strings.HasPrefix(name, "Fx"), strings.HasPrefix(name, "NSX%"):
			delete(java, name) // made by the clients of the recording
		}
	}
	require.Equal(t, java, ours)
	for name := range ours {
		require.True(t, topics.IsSystem(name), name)
	}
}

func TestTopicsOfAFreshBrokerFollowTheSettings(t *testing.T) {
	t.Parallel()
	opts := testTopicsOptions()
	opts.AutoCreate, opts.ClusterTopic, opts.BrokerTopic, opts.TraceTopic = false, false, false, false
	topics := openTestTopics(t, "", opts)
	defer topics.Close()
	_, ok := topics.Get(TopicAutoCreateKey)
	require.False(t, ok)
	_, ok = topics.Get(TopicTrace)
	require.False(t, ok)
	for _, name := range []string{"FixtureCluster", "broker-a"} {
		cfg, ok := topics.Get(name)
		require.True(t, ok)
		require.Equal(t, codec.PermInherit, cfg.Perm)
	}
	require.True(t, topics.IsSystem(TopicAutoCreateKey))
	require.True(t, topics.IsSystem("rmq_sys_anything"))
	require.True(t, topics.IsSystem(TopicTransCheckMax))
	require.False(t, topics.IsSystem("Orders"))
	require.Contains(t, topics.SystemTopics(), "FixtureCluster")
	require.IsIncreasing(t, topics.SystemTopics())
}

func TestTopicsTakeOverJavasFile(t *testing.T) {
	t.Parallel()
	for _, name := range []string{fixtureClean, fixtureCrashed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(unpackFixture(t, name, "config/topics.json"), "config", "topics.json")
			java, err := os.ReadFile(path)
			require.NoError(t, err)
			topics := openTestTopics(t, path, testTopicsOptions())
			require.NoError(t, topics.Close())
			same, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(java), string(same), "nothing is missing, nothing is written")

			topics = openTestTopics(t, path, testTopicsOptions())
			topics.table.mu.Lock()
			topics.table.dirty = true
			topics.table.mu.Unlock()
			require.NoError(t, topics.Close())
			ours, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, sortedLines(string(java)), sortedLines(string(ours)))
			bak, err := os.ReadFile(path + bakSuffix)
			require.NoError(t, err)
			require.Equal(t, string(java), string(bak))
		})
	}
}

func TestTopicsAutoCreate(t *testing.T) {
	t.Parallel()
	opts := testTopicsOptions()
	path := filepath.Join(t.TempDir(), "topics.json")
	var changes atomic.Int64
	opts.OnChange = func(changed map[string]*codec.TopicConfig) { changes.Add(int64(len(changed))) }
	topics := openTestTopics(t, path, opts)
	defer topics.Close()
	before := topics.DataVersion()

	cfg, err := topics.AutoCreate("Orders", TopicAutoCreateKey, 8, 1, "1.2.3.4:5")
	require.NoError(t, err)
	want := codec.NewTopicConfig("Orders")
	want.ReadQueueNums, want.WriteQueueNums, want.TopicSysFlag = 4, 4, 1
	require.Equal(t, want, cfg)
	require.Contains(t, readTopics(t, path), "Orders", "on disk before it is answered")
	got, ok := topics.GetBytes([]byte("Orders"))
	require.True(t, ok)
	require.Same(t, cfg, got)
	require.Equal(t, before.Counter+1, topics.DataVersion().Counter)
	require.GreaterOrEqual(t, topics.DataVersion().TimestampMs, before.TimestampMs)
	require.Equal(t, int64(1), changes.Load())

	again, err := topics.AutoCreate("Orders", TopicAutoCreateKey, 1, 0, "1.2.3.4:5")
	require.NoError(t, err)
	require.Same(t, cfg, again)

	for _, tt := range []struct {
		name, example string
		queues        int32
		want          int32 // queues, -1 for no topic
	}{
		{"fewer than the default has", TopicAutoCreateKey, 2, 2},
		{"less than none", TopicAutoCreateKey, -3, 0},
		{"after the cluster's topic", "FixtureCluster", 99, 16},
		{"default that is not there", "Nowhere", 4, -1},
		{"default that is not inherited from", TopicBenchmark, 4, -1},
	} {
		name := "T-" + strings.ReplaceAll(strings.ReplaceAll(tt.name, " ", "-"), "'", "")
		cfg, err := topics.AutoCreate(name, tt.example, tt.queues, 0, "1.2.3.4:5")
		require.NoError(t, err, tt.name)
		if tt.want < 0 {
			require.Nil(t, cfg, tt.name)
			continue
		}
		require.Equal(t, tt.want, cfg.WriteQueueNums, tt.name)
		require.Equal(t, tt.want, cfg.ReadQueueNums, tt.name)
		require.Equal(t, codec.PermRead|codec.PermWrite, cfg.Perm, tt.name)
	}
	_, err = topics.AutoCreate("no blanks", TopicAutoCreateKey, 4, 0, "")
	require.ErrorContains(t, err, "illegal characters")

	topics.SetAutoCreate(false)
	cfg, err = topics.AutoCreate("Late", TopicAutoCreateKey, 4, 0, "1.2.3.4:5")
	require.NoError(t, err)
	require.Nil(t, cfg)
	cfg, err = topics.AutoCreate("Late", "FixtureCluster", 4, 0, "1.2.3.4:5")
	require.NoError(t, err)
	require.NotNil(t, cfg, "only TBW102 is switched off")
	example, _ := topics.Get(TopicAutoCreateKey)
	require.Equal(t, codec.PermRead|codec.PermWrite, example.Perm)
}

func TestTopicsAreSeenWhenTheyAreOnDisk(t *testing.T) {
	t.Parallel()
	opts := testTopicsOptions()
	path := filepath.Join(t.TempDir(), "topics.json")
	held, release := make(chan struct{}), make(chan struct{})
	var armed atomic.Bool
	opts.Faults = func(op FileOp, at string) error {
		if op == OpRename && at == path && armed.CompareAndSwap(true, false) {
			close(held)
			<-release
		}
		return nil
	}
	topics := openTestTopics(t, path, opts)
	require.NoError(t, topics.MarkOrdered([]string{TopicBenchmark})) // the first write is over
	armed.Store(true)
	done := make(chan error)
	go func() {
		_, err := topics.AutoCreate("Orders", TopicAutoCreateKey, 4, 0, "")
		done <- err
	}()
	<-held
	_, ok := topics.Get("Orders")
	require.False(t, ok)
	go func() {
		_, err := topics.CreateIfAbsent(codec.NewTopicConfig("Orders"))
		done <- err
	}()
	close(release)
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	cfg, ok := topics.Get("Orders")
	require.True(t, ok)
	require.Equal(t, int32(4), cfg.WriteQueueNums, "the second waits for the first and changes nothing")
	require.NoError(t, topics.Close())
}

func TestTopicsThatCannotBeWrittenAreNotThere(t *testing.T) {
	t.Parallel()
	for _, op := range []FileOp{OpCreate, OpWrite, OpFlush, OpRename} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "topics.json")
			opts := testTopicsOptions()
			var broken atomic.Bool
			opts.Faults = func(at FileOp, _ string) error {
				if broken.Load() && at == op {
					return syscall.ENOSPC
				}
				return nil
			}
			topics := openTestTopics(t, path, opts)
			_, err := topics.CreateIfAbsent(NewRetryTopic("G", 1, false))
			require.NoError(t, err)
			version := topics.DataVersion()

			broken.Store(true)
			_, err = topics.AutoCreate("Orders", TopicAutoCreateKey, 4, 0, "")
			require.ErrorIs(t, err, ErrNoSpace)
			_, err = topics.Put(codec.NewTopicConfig("Orders"))
			require.ErrorIs(t, err, ErrNoSpace)
			require.ErrorIs(t, topics.CreateAllIfAbsent([]*codec.TopicConfig{NewRetryTopic("H", 1, false)}), ErrNoSpace)
			_, err = topics.Delete(RetryTopic("G"))
			require.ErrorIs(t, err, ErrNoSpace)
			_, ok := topics.Get("Orders")
			require.False(t, ok)
			_, ok = topics.Get(RetryTopic("G"))
			require.True(t, ok)
			require.Equal(t, version, topics.DataVersion())

			broken.Store(false)
			_, err = topics.AutoCreate("Orders", TopicAutoCreateKey, 4, 0, "")
			require.NoError(t, err)
			require.NoError(t, topics.Close())
			table := readTopics(t, path)
			require.Contains(t, table, "Orders")
			require.Contains(t, table, RetryTopic("G"))
		})
	}
}

func TestTopicsPut(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "topics.json")
	topics := openTestTopics(t, path, testTopicsOptions())
	cfg := codec.NewTopicConfig("Orders")
	cfg.Attributes = map[string]string{"+message.type": "FIFO"}
	changed, err := topics.Put(cfg)
	require.NoError(t, err)
	require.True(t, changed)
	got, _ := topics.Get("Orders")
	require.Equal(t, map[string]string{"message.type": "FIFO"}, got.Attributes)
	require.Equal(t, map[string]string{"+message.type": "FIFO"}, cfg.Attributes, "what is given stays as it is")

	version := topics.DataVersion()
	cfg.Attributes = nil
	changed, err = topics.Put(cfg)
	require.NoError(t, err)
	require.False(t, changed)
	require.Equal(t, version, topics.DataVersion())

	cfg.WriteQueueNums = 2
	cfg.Attributes = map[string]string{"-message.type": ""}
	changed, err = topics.Put(cfg)
	require.NoError(t, err)
	require.True(t, changed)
	now, _ := topics.Get("Orders")
	require.Equal(t, int32(2), now.WriteQueueNums)
	require.Empty(t, now.Attributes)
	require.Equal(t, int32(16), got.WriteQueueNums, "who holds the old one sees no change")

	bad := codec.NewTopicConfig("Other")
	bad.Attributes = map[string]string{"+colour": "red"}
	_, err = topics.PutAll([]*codec.TopicConfig{codec.NewTopicConfig("Third"), bad})
	var attribute *AttributeError
	require.ErrorAs(t, err, &attribute)
	require.EqualError(t, err, "unsupported key: colour")
	_, ok := topics.Get("Third")
	require.False(t, ok, "all or none")
	changed, err = topics.PutAll([]*codec.TopicConfig{codec.NewTopicConfig("Third"), codec.NewTopicConfig("Fourth")})
	require.NoError(t, err)
	require.True(t, changed)
	for _, name := range []string{"", ".", "..", "a/b", "a\x00b", "../../etc"} {
		_, err = topics.Put(codec.NewTopicConfig(name))
		require.ErrorIs(t, err, ErrIllegal)
		_, err = topics.CreateIfAbsent(codec.NewTopicConfig(name))
		require.ErrorIs(t, err, ErrIllegal)
	}

	found, err := topics.Delete("Third")
	require.NoError(t, err)
	require.True(t, found)
	found, err = topics.Delete("Third")
	require.NoError(t, err)
	require.False(t, found)
	require.NotContains(t, readTopics(t, path), "Third")
	require.NoError(t, topics.Close())
	_, err = topics.Put(codec.NewTopicConfig("Fifth"))
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, topics.Close())

	again := openTestTopics(t, path, testTopicsOptions())
	defer again.Close()
	require.Equal(t, topics.All(), again.All())
	require.Equal(t, topics.DataVersion(), again.DataVersion())
	require.Equal(t, topics.Len(), len(again.All()))
}

func TestTopicsOfGroups(t *testing.T) {
	t.Parallel()
	topics := openTestTopics(t, "", testTopicsOptions())
	defer topics.Close()
	retry, err := topics.CreateIfAbsent(NewRetryTopic("G", 2, false))
	require.NoError(t, err)
	require.Equal(t, "%RETRY%G", retry.TopicName)
	require.Equal(t, int32(2), retry.WriteQueueNums)
	require.Equal(t, codec.PermRead|codec.PermWrite, retry.Perm)
	same, err := topics.CreateIfAbsent(NewRetryTopic("G", 9, false))
	require.NoError(t, err)
	require.Same(t, retry, same)
	ordered, err := topics.CreateIfAbsent(NewRetryTopic("G", 9, true))
	require.NoError(t, err)
	require.True(t, ordered.Order)
	require.Equal(t, int32(2), ordered.WriteQueueNums)
	dlq, err := topics.CreateIfAbsent(NewDLQTopic("G"))
	require.NoError(t, err)
	require.Equal(t, "%DLQ%G", dlq.TopicName)
	require.Equal(t, int32(1), dlq.WriteQueueNums)
}

func TestManyTopicsAreCreatedInOneWrite(t *testing.T) {
	t.Parallel()
	opts := testTopicsOptions()
	var writes atomic.Int64
	opts.Faults = func(at FileOp, path string) error {
		if at == OpCreate && strings.HasSuffix(path, tmpSuffix) {
			writes.Add(1)
		}
		return nil
	}
	topics := openTestTopics(t, "", opts)
	ordered, err := topics.CreateIfAbsent(NewRetryTopic("G0000", 3, false))
	require.NoError(t, err)
	before := writes.Load()
	cfgs := []*codec.TopicConfig{codec.NewTopicConfig("no/name")}
	for i := range 5000 {
		cfgs = append(cfgs, NewRetryTopic(fmt.Sprintf("G%04d", i), 1, i == 0))
	}
	err = topics.CreateAllIfAbsent(cfgs)
	require.ErrorIs(t, err, ErrIllegal)
	require.ErrorContains(t, err, "no/name")
	require.NotContains(t, err.Error(), "G0001")
	require.Equal(t, before+1, writes.Load())
	for _, cfg := range cfgs[1:] {
		now, ok := topics.Get(cfg.TopicName)
		require.True(t, ok, cfg.TopicName)
		require.Equal(t, cfg.Order, now.Order)
	}
	now, _ := topics.Get(ordered.TopicName)
	require.Equal(t, int32(3), now.ReadQueueNums, "only its order has changed")
	require.NoError(t, topics.CreateAllIfAbsent(cfgs[1:]))
	require.Equal(t, before+1, writes.Load(), "all were there")
	require.NoError(t, topics.Close())
}

func TestTopicsMarkOrdered(t *testing.T) {
	t.Parallel()
	topics := openTestTopics(t, "", testTopicsOptions())
	defer topics.Close()
	require.NoError(t, topics.MarkOrdered([]string{"Nowhere"}))
	version := topics.DataVersion()
	require.NoError(t, topics.MarkOrdered([]string{TopicBenchmark, "Nowhere"}))
	cfg, _ := topics.Get(TopicBenchmark)
	require.True(t, cfg.Order)
	require.Equal(t, version.Counter+1, topics.DataVersion().Counter)
}

func TestTopicsWriteTogether(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "topics.json")
	opts := testTopicsOptions()
	var writes atomic.Int64
	slow := make(chan struct{})
	opts.Faults = func(op FileOp, _ string) error {
		if op == OpWrite && writes.Add(1) == 2 {
			<-slow // until all have asked
		}
		return nil
	}
	topics := openTestTopics(t, path, opts)
	require.NoError(t, topics.MarkOrdered([]string{TopicBenchmark}))
	require.LessOrEqual(t, writes.Load(), int64(1))
	writes.Store(1)
	const n = 200
	var wg sync.WaitGroup
	var asked atomic.Int64
	for i := range n {
		wg.Go(func() {
			asked.Add(1)
			// Two ask for each topic.
			if _, err := topics.AutoCreate(fmt.Sprint("T", i/2), TopicAutoCreateKey, 4, 0, ""); err != nil {
				t.Error(err)
			}
		})
	}
	require.Eventually(t, func() bool {
		topics.table.mu.Lock()
		defer topics.table.mu.Unlock()
		staged := 0
		for _, b := range []*batch[codec.TopicConfig]{topics.table.next, topics.table.writing} {
			if b != nil {
				staged += len(b.changes)
			}
		}
		return staged == n/2 && asked.Load() == n
	}, 10*time.Second, time.Millisecond)
	close(slow)
	wg.Wait()
	require.LessOrEqual(t, writes.Load(), int64(4), "one write runs, the next takes all the others")
	require.Len(t, readTopics(t, path), topics.Len())
	require.NoError(t, topics.Close())
}

func TestTopicsSnapshotIsOneMoment(t *testing.T) {
	t.Parallel()
	topics := openTestTopics(t, "", testTopicsOptions())
	defer topics.Close()
	base := topics.DataVersion().Counter - int64(topics.Len())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 50 {
			if _, err := topics.Put(codec.NewTopicConfig(fmt.Sprint("T", i))); err != nil {
				t.Error(err)
			}
		}
	})
	for range 500 {
		all, version := topics.Snapshot()
		require.Equal(t, base+int64(len(all)), version.Counter)
	}
	wg.Wait()
}

func TestTopicsKeepWhatTheyDoNotKnow(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "topics.json")
	putFile(t, path, `{"dataVersion":{"counter":7,"stateVersion":3,"timestamp":5},"later":[1],"topicConfigTable":{"T":{"perm":6,
		"topicName":"T","new":{"a":1}}}}`)
	topics := openTestTopics(t, path, testTopicsOptions())
	cfg, ok := topics.Get("T")
	require.True(t, ok)
	require.Equal(t, int32(16), cfg.WriteQueueNums, "Java's default for what is absent")
	changed, err := topics.Put(codec.NewTopicConfig("T"))
	require.NoError(t, err)
	require.False(t, changed)
	_, err = topics.Put(codec.NewTopicConfig("U"))
	require.NoError(t, err)
	require.NoError(t, topics.Close())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(text), `"later":[1]`)
	require.Equal(t, map[string]any{"a": 1.0}, readTopics(t, path)["T"]["new"])
}

func TestTopicsRefuseADamagedTable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "topics.json")
	putFile(t, path, "{")
	_, err := OpenTopics(path, testTopicsOptions())
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestTopicLookupsDoNotAllocate(t *testing.T) {
	topics := openTestTopics(t, "", testTopicsOptions())
	defer topics.Close()
	name := []byte(TopicBenchmark)
	require.Zero(t, leastAllocs(1000, func() {
		if _, ok := topics.GetBytes(name); !ok {
			t.Fatal("not found")
		}
	}))
}

func TestValidateTopic(t *testing.T) {
	t.Parallel()
	long := func(prefix string, n int) string { return prefix + strings.Repeat("x", n-len(prefix)) }
	tests := []struct{ name, topic, want string }{
		{"empty", "", "The specified topic is blank."},
		{"blanks", " \t ", "The specified topic is blank."},
		{"every kind of character", "aZ09_-%|", ""},
		{"a blank", "a b", "The specified topic: a b, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"},
		{"a dot", "a.b", "The specified topic: a.b, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"},
		{"not ASCII", "tópico", "The specified topic: tópico, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"},
		{"127", long("", 127), ""},
		{"128", long("", 128), "The specified topic: " + long("", 128) + ", is longer than topic max length: 127"},
		{"retry 255", long("%RETRY%", 255), ""},
		{"retry 256", long("%RETRY%", 256), "The specified topic is DLQ or Retry topic: " + long("%RETRY%", 256) + ", and it's longer than topic max length: 255"},
		{"dead letters 255", long("%DLQ%", 255), ""},
		{"dead letters 256", long("%DLQ%", 256), "The specified topic is DLQ or Retry topic: " + long("%DLQ%", 256) + ", and it's longer than topic max length: 255"},
	}
	for _, tt := range tests {
		err := ValidateTopic(tt.topic)
		if tt.want == "" {
			require.NoError(t, err, tt.name)
		} else {
			require.EqualError(t, err, tt.want, tt.name)
		}
	}
	require.NoError(t, ValidateGroup(long("", 120)))
	require.EqualError(t, ValidateGroup(long("", 121)), "The specified group: "+long("", 121)+", is longer than group max length: 120")
	require.EqualError(t, ValidateGroup(""), "The specified group is blank.")
	require.EqualError(t, ValidateGroup("a@b"), "The specified group: a@b, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$")
}

func TestSendForbidden(t *testing.T) {
	t.Parallel()
	for _, name := range []string{TopicSchedule, TopicTransHalf, TopicTransOp, TopicTransCheckMax, TopicSelfTest, TopicOffsetMoved} {
		require.True(t, IsSendForbidden([]byte(name)), name)
	}
	for _, name := range []string{TopicAutoCreateKey, TopicBenchmark, TopicTrace, "Orders", ""} {
		require.False(t, IsSendForbidden([]byte(name)), name)
	}
}

func TestAlterAttributes(t *testing.T) {
	t.Parallel()
	type m = map[string]string
	tests := []struct {
		name         string
		create       bool
		has, changes m
		want         m
		err          string
	}{
		{"create with one", true, nil, m{"+queue.type": "BatchCQ"}, m{"queue.type": "BatchCQ"}, ""},
		{"create with none", true, nil, nil, m{}, ""},
		{"create by removing", true, nil, m{"-queue.type": ""}, nil, "only add attribute is supported while creating topic. key: queue.type"},
		{"change", false, m{"message.type": "FIFO"}, m{"+message.type": "NORMAL"}, m{"message.type": "NORMAL"}, ""},
		{"add", false, m{}, m{"+message.type": "DELAY"}, m{"message.type": "DELAY"}, ""},
		{"remove", false, m{"message.type": "FIFO", "queue.type": "SimpleCQ"}, m{"-message.type": ""}, m{"queue.type": "SimpleCQ"}, ""},
		{"remove what is not there", false, m{}, m{"-message.type": ""}, nil, "attempt to delete a nonexistent key: message.type"},
		{"change what may not", false, m{"queue.type": "SimpleCQ"}, m{"+queue.type": "BatchCQ"}, nil, "attempt to update an unchangeable attribute. key: queue.type"},
		{"no sign", false, m{}, m{"message.type": "FIFO"}, nil, "wrong format key: essage.type"},
		{"unknown", false, m{}, m{"+colour": "red"}, nil, "unsupported key: colour"},
		{"no value of it", false, m{}, m{"+message.type": "LARGE"}, nil, "value is not in set: [UNSPECIFIED, MIXED, TRANSACTION, PRIORITY, FIFO, DELAY, LITE, NORMAL]"},
		{"out of range", false, m{}, m{"+reserve.time": "-2"}, nil, "value is not in range(-1, 9223372036854775807)"},
		{"no number", false, m{}, m{"+reserve.time": "soon"}, nil, `For input string: "soon"`},
		{"both at once", false, m{"message.type": "FIFO"}, m{"+message.type": "NORMAL", "-message.type": ""}, nil, "alter duplication key. key: message.type"},
		{"only a sign", false, m{}, m{"+": "x"}, nil, "kv string format wrong."},
		{"nothing", false, m{}, m{"": "x"}, nil, "kv string format wrong."},
		{"two signs", false, m{}, m{"++message.type": "FIFO"}, nil, "kv string format wrong."},
	}
	for _, tt := range tests {
		got, err := alterAttributes(topicAttributes, tt.create, tt.has, tt.changes)
		if tt.err != "" {
			var attribute *AttributeError
			require.ErrorAs(t, err, &attribute, tt.name)
			require.EqualError(t, err, tt.err, tt.name)
			continue
		}
		require.NoError(t, err, tt.name)
		require.Equal(t, tt.want, got, tt.name)
	}
}

func TestTablesAreWrittenAgainAfterAFailure(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "subscriptionGroup.json")
	var failures atomic.Int64
	groups, err := OpenGroups(path, GroupsOptions{AutoCreate: true, TableOptions: TableOptions{
		Faults: func(op FileOp, _ string) error {
			if op == OpWrite && failures.Add(1) == 1 {
				return errors.New("once")
			}
			return nil
		}}})
	require.NoError(t, err)
	_, ok := groups.Find([]byte("G"))
	require.True(t, ok)
	require.Eventually(t, func() bool {
		_, err := os.Stat(path)
		return err == nil
	}, 10*time.Second, 10*time.Millisecond, "without anybody asking")
	require.NoError(t, groups.Close())
}

func BenchmarkTopicLookup(b *testing.B) {
	topics := openTestTopics(b, "", testTopicsOptions())
	defer topics.Close()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		name := []byte(TopicBenchmark)
		for pb.Next() {
			if _, ok := topics.GetBytes(name); !ok {
				b.Fatal("not found")
			}
		}
	})
}

// BenchmarkTopicsWrite is one change among 10,000 topics.
func BenchmarkTopicsWrite(b *testing.B) {
	topics := openTestTopics(b, "", testTopicsOptions())
	defer topics.Close()
	var cfgs []*codec.TopicConfig
	for i := range 10_000 {
		cfgs = append(cfgs, codec.NewTopicConfig(fmt.Sprint("topic-of-some-length-", i)))
	}
	_, err := topics.PutAll(cfgs)
	require.NoError(b, err)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		cfg := codec.NewTopicConfig("changing")
		cfg.WriteQueueNums = int32(i + 100)
		if _, err := topics.Put(cfg); err != nil {
			b.Fatal(err)
		}
	}
}
