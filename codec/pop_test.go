package codec

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Bodies of the revive topic as Apache's 5.4.0 broker wrote them, cut out of the commit log of the recorded store.
var (
	goldenCheckpoints = []string{
		`{"bm":0,"bn":"broker-a","c":"CG_pop","d":[0,1],"it":10000,"n":2,"pt":1795225886564,"q":1,"reviveTime":1795225896564,"ro":0,"so":0,"t":"FxPop"}`,
		`{"bm":0,"bn":"broker-a","c":"CG_pop","d":[0],"it":10000,"n":1,"pt":1795225920818,"q":0,"reviveTime":1795225930818,"ro":0,"so":0,"t":"%RETRY%CG_pop_FxPop"}`,
		`{"bm":0,"bn":"broker-a","c":"CG_pop","d":[0],"it":30000,"n":1,"pt":1795225887574,"q":3,"reviveTime":1795225917574,"ro":0,"so":0,"t":"FxPop"}`,
	}
	goldenAcks = []string{
		`{"ao":0,"bn":"broker-a","c":"CG_pop","pt":1795225886564,"q":2,"so":0,"t":"FxPop"}`,
		`{"ao":2,"bn":"broker-a","c":"CG_pop","pt":1795225925921,"q":1,"so":2,"t":"FxPop"}`,
	}
	// goldenReceipts are extraInfo fields that the Java 5.5.0 client sent.
	goldenReceipts = []string{
		"0 1795225886564 10000 0 0 broker-a 2 1", "0 1795225887502 10000 1 0 broker-a 3 0", "0 1795225920818 10000 7 1 broker-a 0 0",
		"2 1795225924960 10000 1 0 broker-a 0 2",
	}
)

func TestPopBodiesAreJavas(t *testing.T) {
	t.Parallel()
	for _, text := range goldenCheckpoints {
		var c PopCheckpoint
		require.NoError(t, UnmarshalJSON([]byte(text), &c))
		require.Equal(t, text, string(AppendPopCheckpoint(nil, &c)))
	}
	for _, text := range goldenAcks {
		var a PopAck
		require.NoError(t, UnmarshalJSON([]byte(text), &a))
		require.Equal(t, text, string(AppendPopAck(nil, &a)))
	}
}

func TestPopBodiesQuoteWhatJSONMust(t *testing.T) {
	t.Parallel()
	had := PopAck{Topic: "a\"b\\c\x01d\u00e9", Group: "g", QueueOffset: -1, QueueOffsets: []int64{1, 5}, PopTimeMs: 7}
	var got PopAck
	require.NoError(t, UnmarshalJSON(AppendPopAck(nil, &had), &got))
	require.Equal(t, had, got)
}

func TestReceipts(t *testing.T) {
	t.Parallel()
	for _, text := range goldenReceipts {
		var r Receipt
		require.NoError(t, ParseReceipt([]byte(text), &r))
		require.Equal(t, text, string(AppendReceipt(nil, &r)))
	}
	var r Receipt
	require.NoError(t, ParseReceipt([]byte("5 6 7 8 2 b"), &r), "queue and offset may be missing")
	require.Equal(t, Receipt{StartOffset: 5, PopTimeMs: 6, InvisibleMs: 7, ReviveQueueID: 8, Kind: PopRetryV2, BrokerName: []byte("b"), QueueID: -1,
		QueueOffset: -1}, r)
	for _, bad := range []string{"", " ", "1", "1 2 3 4 0", "1 2 3 4 0 ", "1 2 3 4 3 b", "1 2 3 4 00 b", "x 2 3 4 0 b", "1 2 3 99999999999 0 b",
		"99999999999999999999 2 3 4 0 b", "  1 2 3 4 0 b"} {
		require.ErrorIs(t, ParseReceipt([]byte(bad), &r), ErrReceipt, bad)
	}
}

// TestPopInfos has the texts that Apache's broker answered.
func TestPopInfos(t *testing.T) {
	t.Parallel()
	start := AppendStartOffset(AppendStartOffset(nil, PopNormal, 2, 0), PopNormal, 1, 0)
	require.Equal(t, "0 2 0;0 1 0", string(start))
	offsets := AppendMsgOffsets(AppendMsgOffsets(nil, PopNormal, 2, []int64{0, 1}), PopNormal, 1, []int64{0, 1})
	require.Equal(t, "0 2 0,1;0 1 0,1", string(offsets))
	require.Equal(t, "1 0 0", string(AppendStartOffset(nil, PopRetryV1, 0, 0)))
}

func TestBatchAckBodies(t *testing.T) {
	t.Parallel()
	short := `{"acks":[{"b":"AQI=","c":"G","it":3,"pt":4,"q":5,"r":"1","rq":6,"so":7,"t":"T"}],"brokerName":"broker-a"}`
	long := `{"acks":[{"bitSet":"AQI=","consumerGroup":"G","invisibleTime":3,"popTime":4,"queueId":5,"retry":"1","reviveQueueId":6,"startOffset":7,"topic":"T"}]}`
	want := BatchAck{Group: "G", Topic: "T", Retry: "1", StartOffset: 7, QueueID: 5, ReviveQueueID: 6, PopTimeMs: 4, InvisibleMs: 3, BitSet: []byte{1, 2}}
	for _, text := range []string{short, long} {
		body, err := DecodeBatchAck([]byte(text))
		require.NoError(t, err)
		require.Equal(t, []BatchAck{want}, body.Acks)
	}
	for _, bad := range []string{"", "x", `{"acks":[{"b":"*"}]}`, `{"acks":[{"b":7}]}`, `{"acks":7}`} {
		_, err := DecodeBatchAck([]byte(bad))
		require.Error(t, err, bad)
	}
}

func FuzzParseReceipt(f *testing.F) {
	for _, text := range goldenReceipts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var r, again Receipt
		if ParseReceipt(text, &r) != nil {
			return
		}
		require.NoError(t, ParseReceipt(AppendReceipt(nil, &r), &again))
		require.Equal(t, r, again)
	})
}

func FuzzDecodeBatchAck(f *testing.F) {
	f.Add([]byte(`{"acks":[{"b":"AQI=","c":"G","it":0,"pt":0,"q":0,"r":"0","rq":0,"so":0,"t":"T"}],"brokerName":"broker-a"}`))
	f.Fuzz(func(_ *testing.T, text []byte) { _, _ = DecodeBatchAck(text) })
}

func FuzzPopCheckpoint(f *testing.F) {
	for _, text := range goldenCheckpoints {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var c, again PopCheckpoint
		if UnmarshalJSON(text, &c) != nil {
			return
		}
		require.NoError(t, UnmarshalJSON(AppendPopCheckpoint(nil, &c), &again))
		require.Equal(t, c.Count, again.Count)
	})
}
