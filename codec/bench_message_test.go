package codec

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// messageHotPaths are run once for every message; none of them may allocate.
func messageHotPaths(t testing.TB) map[string]func() {
	raw := goldenMessages(t)[2].Raw // v1-tags-keys-uniq
	var m Message
	_, err := DecodeMessage(raw, &m)
	require.NoError(t, err)
	host := netip.MustParseAddrPort("127.0.0.1:10911")
	body := make([]byte, 1024)
	batch := AppendBatchEntry(nil, 0, body, m.Properties)
	tags := []byte("标签-TagA")
	ids := NewUniqueIDs(host.Addr(), 1, 2)
	now := time.Now()
	out := make([]byte, 0, 8192)
	return map[string]func(){
		"DecodeMessage": func() {
			var m Message
			if _, err := DecodeMessage(raw, &m); err != nil {
				panic(err)
			}
		},
		"AppendMessage":           func() { out = AppendMessage(out[:0], &m) },
		"Property":                func() { _, _ = Property(m.Properties, PropUniqKey) },
		"AppendPropertiesWithout": func() { out = AppendPropertiesWithout(out[:0], m.Properties, PropPopCK) },
		"TagsCode":                func() { TagsCode(tags) },
		"IndexKeyHash":            func() { IndexKeyHash("TopicA", tags) },
		"BodyCRC":                 func() { BodyCRC(body) },
		"AppendOffsetMsgID":       func() { out = AppendOffsetMsgID(out[:0], host, 1<<40) },
		"UniqueIDs.AppendNext":    func() { out = ids.AppendNext(out[:0], now) },
		"BatchIter": func() {
			for it := NewBatchIter(batch); it.Next(); {
				_ = it.Body
			}
		},
	}
}

func TestMessageHotPathsDoNotAllocate(t *testing.T) {
	for name, run := range messageHotPaths(t) {
		require.Zero(t, testing.AllocsPerRun(100, run), name)
	}
}

func BenchmarkMessage(b *testing.B) {
	for name, run := range messageHotPaths(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}
