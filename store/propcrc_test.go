package store

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// Each record of Apache's directory ends with a checksum; ours over the same bytes is the same.
func TestPropCRCOfApache(t *testing.T) {
	t.Parallel()
	o := extrasOptions(t, unpackFixture(t, fixtureExtras, ""))
	o.AppendPropCRC, o.ForcePropCRC = true, true
	require.NoError(t, writeAbort(o.Dir)) // read them all
	s := openTestStore(t, o)
	requireExtras(t, s, readExtras(t))
	n := 0
	for at := int64(0); at < s.Written(); n++ {
		raw, err := s.MessageAt(at)
		require.NoError(t, err)
		ours := bytes.Clone(raw)
		clear(ours[:4])
		clear(ours[len(ours)-propCRCBytes:])
		putPropCRC(ours)
		finish(ours, len(ours))
		require.Equal(t, raw, ours)
		at += int64(len(raw))
	}
	require.Equal(t, 376, n)
}

func TestPropCRCPut(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.AppendPropCRC, o.MultiDispatch = true, true
	s := openTestStore(t, o)
	stale := codec.AppendProperty(nil, codec.PropTags, "A")
	stale = codec.AppendProperty(stale, codec.PropCRC32, "1234567890")
	check := func(physOffset int64, props string) {
		raw, err := s.MessageAt(physOffset)
		require.NoError(t, err)
		var m codec.Message
		_, err = codec.DecodeMessage(raw, &m)
		require.NoError(t, err)
		require.Equal(t, props, string(m.Properties[:len(m.Properties)-propCRCBytes]))
		_, ok := propCRC(m.Properties)
		require.True(t, ok)
		require.NoError(t, checkPropCRC(&m))
		require.Equal(t, 1, bytes.Count(m.Properties, []byte(codec.PropCRC32)))
	}
	for _, c := range []struct{ sent, stored string }{
		{"", ""},
		{"a\x01b\x02", "a\x01b\x02"},
		{"a\x01b", "a\x01b\x02"},
		{string(stale), "TAGS\x01A\x02"},
	} {
		m := testMessage("T", 0, "body")
		m.Properties = []byte(c.sent)
		var r PutResult
		require.NoError(t, s.PutWait(m, &r))
		check(r.PhysOffset, c.stored)
		m.Body, m.Properties = codec.AppendBatchEntry(nil, 0, []byte("x"), []byte(c.sent)), nil
		var br BatchPutResult
		require.NoError(t, s.PutBatchWait(m, &br))
		check(br.PhysOffset, c.stored)
	}
	var r PutResult
	require.NoError(t, s.PutWait(lmqMessage("T", "x", "%LMQ%a"), &r))
	check(r.PhysOffset, "UNIQ_KEY\x01Ux\x02TAGS\x01TagA\x02INNER_MULTI_DISPATCH\x01%LMQ%a\x02INNER_MULTI_QUEUE_OFFSET\x010\x02")
	m := testMessage("T", 0, "x")
	m.Properties = codec.AppendProperty(nil, "k", strings.Repeat("v", codec.MaxPropertiesBytes-propCRCBytes-3))
	require.NoError(t, s.PutWait(m, &r))
	m.Properties = codec.AppendProperty(nil, "k", strings.Repeat("v", codec.MaxPropertiesBytes-propCRCBytes-2))
	require.ErrorIs(t, s.PutWait(m, &r), ErrMessageTooLarge)
	waitDispatched(t, s)
	require.NotZero(t, s.MaxQueueOffset("%LMQ%a", 0))
}

// A changed byte that the body's checksum does not cover ends the log where it is written, and goes unnoticed elsewhere.
func TestPropCRCInRecovery(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name            string
		written, append bool
		force, change   bool
		left            int
	}{
		{"whole", true, true, true, false, 10},
		{"changed", true, true, false, true, 9},
		{"changed, forced only", true, false, true, true, 9},
		{"changed, not looked at", true, false, false, true, 10},
		{"none, none demanded", false, true, false, false, 10},
		{"none, one demanded", false, true, true, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, 1)
			h.o.AppendPropCRC = c.written
			h.open()
			var r PutResult
			for range 10 {
				require.NoError(t, h.s.PutWait(testMessage("T", 0, "text"), &r))
			}
			waitDispatched(t, h.s)
			h.crash(func(dir string) {
				eachLogFile(t, dir, func(path string, base int64) {
					if c.change && base <= r.PhysOffset && r.PhysOffset < base+h.o.SegmentBytes {
						changeFile(t, path, r.PhysOffset-base+int64(codec.PosBody(0)), func(b []byte) {
							b[bytes.Index(b, []byte("TagA"))] = 'X'
						})
					}
				})
			})
			h.o.AppendPropCRC, h.o.ForcePropCRC = c.append, c.force
			h.open()
			require.Len(t, readQueue(t, h.s, "T", 0, 0), c.left)
			require.NoError(t, h.s.Close())
		})
	}
}
