package codec

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDecodeMessageGoldens(t *testing.T) {
	t.Parallel()
	for _, g := range goldenMessages(t) {
		t.Run(g.Name, func(t *testing.T) {
			t.Parallel()
			var m Message
			n, err := DecodeMessage(append(bytes.Clone(g.Raw), "what follows"...), &m)
			require.NoError(t, err)
			require.Equal(t, g.Decoded.SizeBytes, n)
			require.Equal(t, g.Decoded.SizeBytes, int(m.TotalSizeBytes))
			require.Equal(t, uint32(g.Decoded.Magic), m.Magic)
			require.Equal(t, g.Decoded.BodyCRC, m.BodyCRC)
			require.Equal(t, g.Decoded.QueueID, m.QueueID)
			require.Equal(t, g.Decoded.Flag, m.Flag)
			require.Equal(t, g.Decoded.QueueOffset, m.QueueOffset)
			require.Equal(t, g.Decoded.PhysOffset, m.PhysOffset)
			// Java clears the bit once it has decompressed the body.
			require.Equal(t, g.Decoded.SysFlag&^SysCompressed, m.SysFlag&^SysCompressed)
			require.Equal(t, g.Decoded.BornTimestampMs, m.BornTimestampMs)
			require.Equal(t, javaHost(t, g.Decoded.BornHost), m.BornHost)
			require.Equal(t, g.Decoded.StoreTimestampMs, m.StoreTimestampMs)
			require.Equal(t, javaHost(t, g.Decoded.StoreHost), m.StoreHost)
			require.Equal(t, g.Decoded.ReconsumeTimes, m.ReconsumeTimes)
			require.Equal(t, g.Decoded.PreparedTransactionOffset, m.PreparedTransactionOffset)
			require.Equal(t, g.Decoded.Topic, string(m.Topic))
			require.Len(t, m.Body, g.Decoded.StoredBodyBytes)
			sum := sha256.Sum256(m.Body)
			require.Equal(t, g.Decoded.StoredBodySHA256, hex.EncodeToString(sum[:]))
			require.NoError(t, m.CheckBody())
			require.Equal(t, g.Decoded.Properties, propertyMap(m.Properties))
			require.Equal(t, g.Decoded.OffsetMsgID, string(AppendOffsetMsgID(nil, m.StoreHost, m.PhysOffset)))
		})
	}
}

func TestAppendMessageGoldens(t *testing.T) {
	t.Parallel()
	for _, g := range goldenMessages(t) {
		t.Run(g.Name, func(t *testing.T) {
			t.Parallel()
			var m Message
			_, err := DecodeMessage(g.Raw, &m)
			require.NoError(t, err)
			m.TotalSizeBytes, m.BodyCRC = 0, 0
			require.Equal(t, g.Raw, AppendMessage(nil, &m))
			if g.Name == "v2-short-topic" {
				return // a form that the topic's length does not ask for
			}
			m.Magic = 0
			require.Equal(t, g.Raw, AppendMessage(nil, &m))
			require.Equal(t, len(g.Raw), MessageSize(len(m.Body), len(m.Topic), len(m.Properties), m.SysFlag))
		})
	}
}

func TestMessagePositions(t *testing.T) {
	t.Parallel()
	for _, g := range goldenMessages(t) {
		var m Message
		_, err := DecodeMessage(g.Raw, &m)
		require.NoError(t, err)
		at64 := func(pos int) int64 { return int64(binary.BigEndian.Uint64(g.Raw[pos:])) }
		at32 := func(pos int) int32 { return int32(binary.BigEndian.Uint32(g.Raw[pos:])) }
		require.Equal(t, m.QueueID, at32(PosQueueID), g.Name)
		require.Equal(t, m.QueueOffset, at64(PosQueueOffset), g.Name)
		require.Equal(t, m.PhysOffset, at64(PosPhysOffset), g.Name)
		require.Equal(t, m.SysFlag, at32(PosSysFlag), g.Name)
		require.Equal(t, m.StoreTimestampMs, at64(PosStoreTimestamp(m.SysFlag)), g.Name)
		require.Equal(t, m.ReconsumeTimes, at32(PosReconsumeTimes(m.SysFlag)), g.Name)
		require.Equal(t, len(m.Body), int(at32(PosBody(m.SysFlag))), g.Name)
	}
}

// Every cut and every lie about a length must be noticed, and nothing behind the record be read.
func TestDecodeMessageRefusals(t *testing.T) {
	t.Parallel()
	raw := goldenMessages(t)[2].Raw
	var ok Message
	_, err := DecodeMessage(raw, &ok)
	require.NoError(t, err)
	for cut := range raw {
		_, err := DecodeMessage(raw[:cut], new(Message))
		require.ErrorIs(t, err, ErrShort, "cut at %d", cut)
	}
	bodyAt := PosBody(0)
	topicAt := bodyAt + 4 + len(ok.Body)
	propsAt := topicAt + 1 + len(ok.Topic)
	for _, c := range []struct {
		name string
		pos  int
		put  []byte
		want error
	}{
		{"size 0", 0, []byte{0, 0, 0, 0}, ErrSize},
		{"size below the least", 0, []byte{0, 0, 0, 90}, ErrSize},
		{"negative size", 0, []byte{0xFF, 0xFF, 0xFF, 0xF0}, ErrSize},
		{"size above what is there", 0, []byte{0x7F, 0xFF, 0xFF, 0xFF}, ErrShort},
		{"size one less", 0, binary.BigEndian.AppendUint32(nil, uint32(len(raw)-1)), ErrSize},
		{"magic", PosMagic, []byte{1, 2, 3, 4}, ErrMagic},
		{"no magic", PosMagic, []byte{0, 0, 0, 0}, ErrMagic},
		{"negative body length", bodyAt, []byte{0x80, 0, 0, 1}, ErrSize},
		{"body length beyond the end", bodyAt, []byte{0, 0, 0xFF, 0}, ErrSize},
		{"topic length above 127", topicAt, []byte{128}, ErrSize},
		{"topic length beyond the end", topicAt, []byte{127}, ErrSize},
		{"negative properties length", propsAt, []byte{0xFF, 0xFF}, ErrSize},
		{"properties shorter than the record", propsAt, []byte{0, 1}, ErrSize},
		{"hosts wider than the record has room", PosSysFlag, []byte{0, 0, 0, 0x30}, ErrSize},
	} {
		b := bytes.Clone(raw)
		copy(b[c.pos:], c.put)
		n, err := DecodeMessage(b, new(Message))
		require.ErrorIs(t, err, c.want, c.name)
		require.Zero(t, n, c.name)
	}
}

func TestBlank(t *testing.T) {
	t.Parallel()
	b := AppendBlank(nil, 4096)
	n, err := DecodeMessage(b, new(Message))
	require.ErrorIs(t, err, ErrBlank)
	require.Equal(t, 4096, n)
	binary.BigEndian.PutUint32(b, 7)
	_, err = DecodeMessage(b, new(Message))
	require.ErrorIs(t, err, ErrSize)
	versions := readJSON[struct {
		Versions []struct {
			Name     string `json:"name"`
			MagicHex string `json:"magic_hex"`
		} `json:"versions"`
	}](t, "hash/message_version.json")
	want := map[string]uint32{"MESSAGE_VERSION_V1": MagicV1, "MESSAGE_VERSION_V2": MagicV2, "BLANK_MAGIC_CODE": MagicBlank}
	for _, v := range versions.Versions {
		magic, err := strconv.ParseUint(v.MagicHex, 16, 32)
		require.NoError(t, err)
		require.Equal(t, uint32(magic), want[v.Name], v.Name)
	}
}

func TestBodyCRC(t *testing.T) {
	t.Parallel()
	goldens := readJSON[struct {
		BodyCRC []struct {
			Text string `json:"utf8"`
			CRC  uint32 `json:"crc32"`
		} `json:"body_crc32"`
	}](t, "hash/message_version.json")
	require.NotEmpty(t, goldens.BodyCRC)
	for _, g := range goldens.BodyCRC {
		require.Equal(t, g.CRC, BodyCRC([]byte(g.Text)), g.Text)
	}
	var m Message
	raw := bytes.Clone(goldenMessages(t)[0].Raw)
	raw[PosBody(0)+4] ^= 1
	_, err := DecodeMessage(raw, &m)
	require.NoError(t, err)
	require.ErrorIs(t, m.CheckBody(), ErrCRC)
}

func TestAppendMessageHostsThatDoNotFit(t *testing.T) {
	t.Parallel()
	m := Message{BornHost: netip.MustParseAddrPort("[2001:db8::1]:7"), SysFlag: SysStoreHostV6,
		StoreHost: netip.MustParseAddrPort("10.0.0.1:9"), Topic: []byte("T")}
	var back Message
	_, err := DecodeMessage(AppendMessage(nil, &m), &back)
	require.NoError(t, err)
	require.Equal(t, netip.MustParseAddrPort("0.0.0.0:7"), back.BornHost)
	require.Equal(t, netip.MustParseAddrPort("[::ffff:10.0.0.1]:9"), back.StoreHost)
	require.Equal(t, make([]byte, 20), AppendHost(nil, netip.AddrPort{}, true))
}

// javaHost reads what InetSocketAddress prints: IPv6 without brackets and without a gap.
func javaHost(t testing.TB, s string) netip.AddrPort {
	colon := strings.LastIndexByte(s, ':')
	return netip.MustParseAddrPort(net.JoinHostPort(s[:colon], s[colon+1:]))
}
