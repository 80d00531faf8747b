package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

type stretch = codec.LogicQueueMappingItem

func mappingOf(epoch int64, queues map[int32][]stretch) *codec.TopicQueueMappingDetail {
	return &codec.TopicQueueMappingDetail{Topic: "ST", Bname: "a", Scope: "__global__", Epoch: epoch, TotalQueues: int32(len(queues)), HostedQueues: queues}
}

func TestMappingsAreKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "topicQueueMapping.json")
	changes := 0
	m, err := OpenMappings(path, MappingsOptions{Broker: "a", OnChange: func() { changes++ }})
	require.NoError(t, err)
	first := map[int32][]stretch{0: {{QueueID: 3, Bname: "a", EndOffset: -1}}, 1: {{QueueID: 0, Bname: "b", EndOffset: -1}}}
	require.NoError(t, m.Put(mappingOf(1, first)))
	require.Equal(t, map[int32]int32{0: 3}, MappingInfo(m.Get([]byte("ST"))).CurrIDMap)
	require.NoError(t, m.Close())
	require.Equal(t, 1, changes)

	m, err = OpenMappings(path, MappingsOptions{Broker: "a"})
	require.NoError(t, err)
	require.Equal(t, mappingOf(1, first).HostedQueues, m.Get([]byte("ST")).HostedQueues)
	require.NoError(t, m.Delete("ST"))
	require.Nil(t, m.Get([]byte("ST")))
	require.Zero(t, m.Len())
	require.NoError(t, m.Close())
}

func TestDroppedQueuesAreGoneUnlessTheTopicChanged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "topicQueueMapping.json")
	m, err := OpenMappings(path, MappingsOptions{Broker: "a"})
	require.NoError(t, err)
	elsewhere := []stretch{{QueueID: 3, Bname: "a", EndOffset: 1}, {Gen: 1, Bname: "b", LogicOffset: 10, EndOffset: -1}}
	require.NoError(t, m.Put(mappingOf(1, map[int32][]stretch{0: elsewhere, 1: elsewhere})))
	seen := m.Get([]byte("ST"))
	require.NoError(t, m.Put(mappingOf(2, map[int32][]stretch{0: elsewhere, 1: elsewhere})))
	require.ErrorContains(t, m.Drop(seen, []int32{1}), "changed meanwhile")
	require.Len(t, m.Get([]byte("ST")).HostedQueues, 2)
	seen = m.Get([]byte("ST"))
	require.NoError(t, m.Drop(seen, []int32{1}))
	require.Len(t, seen.HostedQueues, 2, "what was read does not change")
	require.NoError(t, m.Close())
	m, err = OpenMappings(path, MappingsOptions{Broker: "a"})
	require.NoError(t, err)
	require.Equal(t, map[int32][]stretch{0: elsewhere}, m.Get([]byte("ST")).HostedQueues)
	require.NoError(t, m.Close())
}

// The file is the one that Apache RocketMQ 5.4.0's broker wrote when mqadmin updateStaticTopic had made a topic on two brokers.
func TestMappingsOfApache(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "topicQueueMapping.json")
	golden, err := os.ReadFile("testdata/topicQueueMapping.json")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, golden, 0o644))
	m, err := OpenMappings(path, MappingsOptions{Broker: "compat-a"})
	require.NoError(t, err)
	values, version := m.Snapshot()
	require.Len(t, values, 1)
	m.table.text.change(values)
	text, err := m.table.text.encode(func(values map[string]*codec.TopicQueueMappingDetail) any { return m.table.whole(values, version) })
	require.NoError(t, err)
	require.Equal(t, string(golden), string(text))
	require.NoError(t, m.Close())
}

func TestMappingsThatAreRefused(t *testing.T) {
	t.Parallel()
	here := stretch{QueueID: 3, Bname: "a", EndOffset: -1}
	for name, c := range map[string]struct {
		put  *codec.TopicQueueMappingDetail
		want string
	}{
		"older":              {mappingOf(1, map[int32][]stretch{0: {here}}), "Can't accept data with small epoch 1 < 2"},
		"another broker's":   {&codec.TopicQueueMappingDetail{Topic: "ST", Bname: "b"}, "for broker b"},
		"a queue is missing": {mappingOf(2, map[int32][]stretch{5: {here}}), "Cannot accept equal epoch with null data"},
		"same epoch":         {mappingOf(2, map[int32][]stretch{0: {here, {Gen: 1, QueueID: 1, Bname: "b", LogicOffset: 9, EndOffset: -1}}}), "The new leader is different but epoch equal"},
		"another meaning":    {mappingOf(3, map[int32][]stretch{0: {{QueueID: 4, Bname: "a", EndOffset: -1}}}), "generation 0"},
		"negative queue":     {mappingOf(3, map[int32][]stretch{0: {{QueueID: -1, Bname: "a"}}}), "should not be negative"},
		"generations":        {mappingOf(3, map[int32][]stretch{0: {{Gen: 1, Bname: "a"}, {Gen: 1, Bname: "b", LogicOffset: 9}}}), "The gen does not increase monotonically"},
		"offsets":            {mappingOf(3, map[int32][]stretch{0: {{Bname: "a", EndOffset: 20}, {Gen: 1, Bname: "b", LogicOffset: 9}}}), "The max logic offset does not increase monotonically"},
		"ends before it begins": {mappingOf(3, map[int32][]stretch{0: {{Bname: "a", StartOffset: 5, EndOffset: 2}}}),
			"The endOffset is smaller than the start offset"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := OpenMappings(filepath.Join(t.TempDir(), "m.json"), MappingsOptions{Broker: "a"})
			require.NoError(t, err)
			require.NoError(t, m.Put(mappingOf(2, map[int32][]stretch{0: {here}})))
			require.ErrorContains(t, m.Put(c.put), c.want)
			require.Equal(t, int64(2), m.Get([]byte("ST")).Epoch)
			require.NoError(t, m.Close())
		})
	}
}

// A table that was cut or changed by hand does not keep the broker from starting; what is impossible in it is left out.
func TestMappingsWithAnImpossibleTopic(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "m.json")
	text := `{"dataVersion":{"counter":1},"topicQueueMappingInfoMap":{"bad":{"bname":"a","topic":"bad","hostedQueues":{0:[{"queueId":-3}]}},
		"good":{"bname":"a","topic":"good","hostedQueues":{0:[{"queueId":3,"bname":"a","endOffset":-1}]}}}}`
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	m, err := OpenMappings(path, MappingsOptions{Broker: "a"})
	require.NoError(t, err)
	require.Nil(t, m.Get([]byte("bad")))
	require.NotNil(t, m.Get([]byte("good")))
	require.NoError(t, m.Close())
}
