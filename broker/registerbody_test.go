package broker

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func manyTopics(n int) codec.TopicConfigAndMapping {
	table := codec.TopicConfigAndMapping{DataVersion: codec.DataVersion{Counter: 7, TimestampMs: 8},
		TopicConfigTable:         map[string]*codec.TopicConfig{},
		TopicQueueMappingInfoMap: map[string]*codec.TopicQueueMappingInfo{"static": {Bname: "b"}}}
	for i := range n {
		name := fmt.Sprintf("topic-%06d", i)
		table.TopicConfigTable[name] = codec.NewTopicConfig(name)
	}
	return table
}

// Parts together have all topics, each a version of its own, the last one the true one and the static topics.
func TestSplitTopics(t *testing.T) {
	t.Parallel()
	table := manyTopics(2401)
	parts := splitTopics(&table, 800)
	require.Len(t, parts, 4)
	topics, versions := map[string]bool{}, map[codec.DataVersion]bool{}
	for i, part := range parts {
		require.LessOrEqual(t, len(part.TopicConfigTable), 800)
		for name := range part.TopicConfigTable {
			require.False(t, topics[name])
			topics[name] = true
		}
		versions[part.DataVersion] = true
		require.Equal(t, i == 3, part.DataVersion == table.DataVersion)
		require.Equal(t, i == 3, part.TopicQueueMappingInfoMap != nil)
	}
	require.Len(t, topics, 2401)
	require.Len(t, versions, 4)
}

// No registration is longer than a frame may be, however many topics there are; few topics are registered as one.
func TestRegistrationsFitIntoFrames(t *testing.T) {
	t.Parallel()
	for n, split := range map[int]bool{10: false, 10_000: false, 70_000: true} {
		table := manyTopics(n)
		b := registerBody{topics: func() codec.TopicConfigAndMapping { return table }, maxBytes: registrationBytes}
		bodies, version, err := b.encoded()
		require.NoError(t, err)
		require.Equal(t, table.DataVersion, version)
		require.Equal(t, split, len(bodies) > 1, "%d topics in %d registrations", n, len(bodies))
		found := 0
		for _, body := range bodies {
			require.LessOrEqual(t, len(body), registrationBytes)
			got, err := codec.DecodeRegisterBrokerBody(body, false, codec.Version)
			require.NoError(t, err)
			found += len(got.TopicConfigSerializeWrapper.TopicConfigTable)
		}
		require.Equal(t, n, found)
	}
}

func TestRegistrarRegistersParts(t *testing.T) {
	t.Parallel()
	ns := openFakeNamesrv(t, "127.0.0.1:0")
	r := startRegistrar(t, func(o *RegistrarOptions) {
		o.SplitSize = 2
		o.Topics = func() codec.TopicConfigAndMapping { return manyTopics(5) }
	}, ns.addr)
	found := map[string]bool{}
	for range 3 {
		for name := range ns.next(codec.RegisterBroker).topics {
			found[name] = true
		}
	}
	require.Len(t, found, 5)
	r.AwaitFirst()
	require.True(t, r.Registered())
}
