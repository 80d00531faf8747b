package codec

import (
	"bytes"
	"compress/zlib"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// registration is what testdata/bodies/register_* hold, both written by Apache's RegisterBrokerBody.
func registration() *RegisterBrokerBody {
	fifo := NewTopicConfig("TopicFifo")
	fifo.ReadQueueNums, fifo.WriteQueueNums, fifo.Perm = 2, 2, PermRead
	fifo.Order, fifo.TopicSysFlag, fifo.Attributes = true, TopicUnitSub, map[string]string{"message.type": "FIFO"}
	retry := NewTopicConfig("%RETRY%G")
	retry.ReadQueueNums, retry.WriteQueueNums, retry.TopicFilterType = 1, 1, FilterMultiTag
	blank := NewTopicConfig("TopicBlank")
	blank.ReadQueueNums, blank.WriteQueueNums, blank.Perm, blank.Attributes = 3, 3, PermWrite, map[string]string{"k": "a b"}
	plain := NewTopicConfig("TopicA")
	plain.ReadQueueNums, plain.WriteQueueNums = 8, 4
	plain.Attributes, retry.Attributes = map[string]string{}, map[string]string{}
	return &RegisterBrokerBody{
		FilterServerList: []string{"10.0.0.1:1"},
		TopicConfigSerializeWrapper: TopicConfigAndMapping{
			DataVersion:                DataVersion{Counter: 17, StateVersion: 3, TimestampMs: 1795225640017},
			MappingDataVersion:         DataVersion{Counter: 1, TimestampMs: 1795225640020},
			TopicConfigTable:           map[string]*TopicConfig{"TopicA": plain, "TopicFifo": fifo, "%RETRY%G": retry, "TopicBlank": blank},
			TopicQueueMappingDetailMap: map[string]*TopicQueueMappingDetail{},
			TopicQueueMappingInfoMap: map[string]*TopicQueueMappingInfo{"TopicS": {Bname: "broker-a", CurrIDMap: map[int32]int32{0: 0, 2: 1},
				Epoch: 9, Scope: "__global__", Topic: "TopicS", TotalQueues: 4}},
		},
	}
}

// thinned drops what the compressed form has no place for.
func thinned(b *RegisterBrokerBody) *RegisterBrokerBody {
	b.TopicConfigSerializeWrapper.MappingDataVersion = DataVersion{}
	b.TopicConfigSerializeWrapper.TopicQueueMappingDetailMap = nil
	for _, topic := range b.TopicConfigSerializeWrapper.TopicConfigTable {
		topic.Order, topic.TopicSysFlag = false, 0
	}
	return b
}

func TestRegisterBrokerBodyGoldens(t *testing.T) {
	t.Parallel()
	plain, err := os.ReadFile("testdata/bodies/register_plain.json")
	require.NoError(t, err)
	got, err := DecodeRegisterBrokerBody(plain, false, Version)
	require.NoError(t, err)
	require.Equal(t, registration(), got)

	compressed, err := os.ReadFile("testdata/bodies/register_compressed.bin")
	require.NoError(t, err)
	got, err = DecodeRegisterBrokerBody(compressed, true, Version)
	require.NoError(t, err)
	require.Equal(t, thinned(registration()), got)

	old, err := DecodeRegisterBrokerBody(compressed, true, versionV500-1)
	require.NoError(t, err)
	require.Empty(t, old.TopicConfigSerializeWrapper.TopicQueueMappingInfoMap)
	require.Len(t, old.TopicConfigSerializeWrapper.TopicConfigTable, 4)
}

func TestRegisterBrokerBodyRoundTrip(t *testing.T) {
	t.Parallel()
	b, err := EncodeRegisterBrokerBody(registration(), false, Version)
	require.NoError(t, err)
	got, err := DecodeRegisterBrokerBody(b, false, Version)
	require.NoError(t, err)
	require.Equal(t, registration(), got)
	for _, version := range []int32{400, Version} {
		b, err = EncodeRegisterBrokerBody(registration(), true, version)
		require.NoError(t, err)
		got, err = DecodeRegisterBrokerBody(b, true, version)
		require.NoError(t, err)
		want := thinned(registration())
		if version < versionV500 {
			want.TopicConfigSerializeWrapper.TopicQueueMappingInfoMap = nil
		}
		require.Equal(t, want, got)
	}
}

func TestPeekRegisterBrokerBody(t *testing.T) {
	t.Parallel()
	body := registration()
	plain, err := EncodeRegisterBrokerBody(body, false, Version)
	require.NoError(t, err)
	_, ok := PeekRegisterBrokerBody(plain, false)
	require.False(t, ok, "filter servers must be read")
	body.FilterServerList = nil
	plain, err = EncodeRegisterBrokerBody(body, false, Version)
	require.NoError(t, err)
	v, ok := PeekRegisterBrokerBody(plain, false)
	require.True(t, ok)
	require.Equal(t, body.TopicConfigSerializeWrapper.DataVersion, v)
	compressed, err := EncodeRegisterBrokerBody(body, true, Version)
	require.NoError(t, err)
	v, ok = PeekRegisterBrokerBody(compressed, true)
	require.True(t, ok)
	require.Equal(t, body.TopicConfigSerializeWrapper.DataVersion, v)
	for _, text := range []string{"", "{}", `{"topicConfigSerializeWrapper":{"topicConfigTable":{}}}`, `{"topicConfigSerializeWrapper":{"dataVersion":7}}`,
		`{"topicConfigSerializeWrapper":{"dataVersion":{"counter":`, "[]"} {
		_, ok = PeekRegisterBrokerBody([]byte(text), false)
		require.False(t, ok, text)
		_, ok = PeekRegisterBrokerBody([]byte(text), true)
		require.False(t, ok, text)
	}
}

func TestRegisterBrokerBodyRefusals(t *testing.T) {
	t.Parallel()
	deflate := func(raw []byte) []byte {
		var out bytes.Buffer
		z := zlib.NewWriter(&out)
		_, err := z.Write(raw)
		require.NoError(t, err)
		require.NoError(t, z.Close())
		return out.Bytes()
	}
	good, err := EncodeRegisterBrokerBody(registration(), true, Version)
	require.NoError(t, err)
	raw, err := inflate(good, maxRegisterBytes)
	require.NoError(t, err)
	for cut := range raw {
		_, err := DecodeRegisterBrokerBody(deflate(raw[:cut]), true, Version)
		require.Error(t, err, "cut at %d", cut)
	}
	for cut := range good {
		_, err := DecodeRegisterBrokerBody(good[:cut], true, Version)
		require.Error(t, err, "cut at %d", cut)
	}
	for _, line := range []string{"", "T", "T 1 2 3", "T x 2 3 SINGLE_TAG", "T 1 2 3 NO_TAG", "T 1 2 99999999999 SINGLE_TAG"} {
		_, err := parseTopicLine(line)
		require.ErrorIs(t, err, errRegisterBody, line)
	}
	_, err = DecodeRegisterBrokerBody(deflate(make([]byte, maxRegisterBytes+1)), true, Version)
	require.ErrorIs(t, err, errRegisterBody)
}
