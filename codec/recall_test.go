package codec

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
)

// The handle is from the answer of Apache RocketMQ 5.4.0's broker to a send.
const javaRecallHandle = "djEgRnhUaW1lciBicm9rZXItYSAxNzk1MjI1NzU3MDAxIEMwMDAwMjAyMEE4NDRFMEUyRjJBNjc2MzIwNzAwMDA4"

func TestRecallHandle(t *testing.T) {
	t.Parallel()
	h, err := ParseRecallHandle(javaRecallHandle)
	require.NoError(t, err)
	want := RecallHandle{Topic: "FxTimer", BrokerName: "broker-a", TimestampMs: "1795225757001", MessageID: "C00002020A844E0E2F2A676320700008"}
	require.Equal(t, want, h)
	require.Equal(t, javaRecallHandle, string(AppendRecallHandle(nil, h.Topic, h.BrokerName, 1795225757000, []byte(h.MessageID))))
	for _, text := range []string{"", "nonsense!", "v1 a b 1 c", base64.URLEncoding.EncodeToString([]byte("v1 a b 1")),
		base64.URLEncoding.EncodeToString([]byte("v2 a b 1 c")), base64.URLEncoding.EncodeToString([]byte("v1 a b 1 ")),
		base64.URLEncoding.EncodeToString([]byte("v1 a b 1 c\x02WAIT\x01false")), javaRecallHandle + "\n"} {
		_, err := ParseRecallHandle(text)
		require.ErrorIs(t, err, ErrRecallHandle, text)
	}
}

func FuzzRecallHandle(f *testing.F) {
	f.Add(javaRecallHandle)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if h, err := ParseRecallHandle(text); err == nil {
			require.NotEmpty(t, h.MessageID)
		}
	})
}
