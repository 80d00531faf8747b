package codec

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

type goldenBatch struct {
	ID       int    `json:"id"`
	Raw      []byte `json:"raw_b64"`
	Stored   []byte `json:"stored_raw_b64"`
	Count    int    `json:"inner_count"`
	Messages []struct {
		Flag       int32             `json:"flag"`
		Body       []byte            `json:"body_b64"`
		Properties map[string]string `json:"properties"`
	} `json:"messages"`
}

func TestBatchGoldens(t *testing.T) {
	t.Parallel()
	for _, g := range readLines[goldenBatch](t, "messages/batch_bodies.jsonl") {
		if g.Raw == nil {
			continue
		}
		n := 0
		var again []byte
		it := NewBatchIter(g.Raw)
		for it.Next() {
			require.Equal(t, g.Messages[n].Flag, it.Flag)
			require.True(t, bytes.Equal(g.Messages[n].Body, it.Body))
			require.Equal(t, g.Messages[n].Properties, propertyMap(it.Properties))
			again = AppendBatchEntry(again, it.Flag, it.Body, it.Properties)
			n++
		}
		require.NoError(t, it.Err())
		require.Equal(t, g.Count, n)
		require.Equal(t, g.Raw, again)
	}
}

func TestInnerBatchGolden(t *testing.T) {
	t.Parallel()
	for _, g := range readLines[goldenBatch](t, "messages/batch_bodies.jsonl") {
		if g.Stored == nil {
			continue
		}
		var m Message
		_, err := DecodeMessage(g.Stored, &m)
		require.NoError(t, err)
		require.Equal(t, SysInnerBatch|SysNeedUnwrap, m.SysFlag&(SysInnerBatch|SysNeedUnwrap))
		n := 0
		it := NewBatchIter(m.Body)
		for it.Next() {
			n++
		}
		require.NoError(t, it.Err())
		count, ok := Property(m.Properties, PropInnerNum)
		require.True(t, ok)
		require.Equal(t, string(count), string('0'+rune(n)))
		return
	}
	require.Fail(t, "no inner batch among the goldens")
}

func TestBatchLies(t *testing.T) {
	t.Parallel()
	one := AppendBatchEntry(nil, 7, []byte("body"), []byte("k\x01v\x02"))
	for cut := 1; cut < len(one); cut++ {
		it := NewBatchIter(append(bytes.Clone(one), one[:cut]...))
		require.True(t, it.Next())
		require.False(t, it.Next())
		require.ErrorIs(t, it.Err(), ErrShort, "cut at %d", cut)
		require.False(t, it.Next())
	}
	for _, pos := range []int{16, 16 + 4 + 4} { // body length, properties length
		lie := bytes.Clone(one)
		lie[pos] = 0xFF
		it := NewBatchIter(lie)
		require.False(t, it.Next())
		require.ErrorIs(t, it.Err(), ErrShort)
	}
	it := NewBatchIter(nil)
	require.False(t, it.Next())
	require.NoError(t, it.Err())
	size := bytes.Clone(one) // Java's broker does not look at it
	size[0] = 0x7F
	it = NewBatchIter(size)
	require.True(t, it.Next())
}
