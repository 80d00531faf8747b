package codec

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOffsetMsgIDGoldens(t *testing.T) {
	t.Parallel()
	type golden struct {
		Host       string `json:"host"`
		Port       uint16 `json:"port"`
		PhysOffset int64  `json:"offset"`
		MsgID      string `json:"msg_id"`
		Address    string `json:"decoded_address"`
		Decoded    int64  `json:"decoded_offset"`
		Error      string `json:"decode_error"`
	}
	for _, g := range readJSON[[]golden](t, "hash/offset_msg_id.json") {
		host, physOffset, err := ParseOffsetMsgID(g.MsgID)
		if g.Error != "" {
			require.ErrorIs(t, err, ErrMsgID, g.MsgID)
			continue
		}
		require.NoError(t, err, g.MsgID)
		require.Equal(t, javaHost(t, g.Address), host)
		require.Equal(t, g.Decoded, physOffset)
		if g.Host != "" {
			addr := netip.AddrPortFrom(netip.MustParseAddr(g.Host), g.Port)
			require.Equal(t, g.MsgID, string(AppendOffsetMsgID(nil, addr, g.PhysOffset)))
		}
	}
}

func TestOffsetMsgIDRefusals(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"7F00000100002A9F000000000000000", "7F0000010001000000000000000000001", "7F000001000100000000000000000000"} {
		_, _, err := ParseOffsetMsgID(id)
		require.ErrorIs(t, err, ErrMsgID, id)
	}
}

// The ids of one process as Apache's client made them, one after the other.
func TestUniqueIDGoldens(t *testing.T) {
	t.Parallel()
	type golden struct {
		ID  string `json:"unique_id"`
		IP  string `json:"ip"`
		PID int    `json:"pid"`
	}
	generators := map[string]*UniqueIDs{}
	for _, g := range readJSON[[]golden](t, "hash/unique_id.json") {
		raw, err := hex.DecodeString(g.ID)
		require.NoError(t, err)
		rest := raw[len(netip.MustParseAddr(g.IP).AsSlice())+2:]
		process := g.ID[:len(g.ID)-12]
		u := generators[process]
		if u == nil {
			u = NewUniqueIDs(netip.MustParseAddr(g.IP), g.PID, binary.BigEndian.Uint32(rest))
			u.counter.Store(uint32(binary.BigEndian.Uint16(rest[8:])))
			generators[process] = u
		}
		sinceMonth := time.Duration(binary.BigEndian.Uint32(rest[4:])) * time.Millisecond
		now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(sinceMonth)
		require.Equal(t, g.ID, string(u.AppendNext(nil, now)))
	}
	require.Less(t, len(generators), 10)
}

func TestUniqueIDsMonths(t *testing.T) {
	t.Parallel()
	u := NewUniqueIDs(netip.MustParseAddr("127.0.0.1"), 0x12345, 0xA0B0C0D0)
	require.Equal(t, "7F0000012345A0B0C0D0000000000000", string(u.AppendNext(nil, time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC))))
	require.Equal(t, "7F0000012345A0B0C0D0000000010001", string(u.AppendNext(nil, time.Date(2026, 3, 1, 0, 0, 0, 1e6, time.UTC))))
	back := string(u.AppendNext(nil, time.Date(2026, 2, 1, 0, 0, 0, 5e6, time.UTC)))
	require.Equal(t, "7F0000012345A0B0C0D0000000050002", back)
}

func TestUniqueIDsOfManyGoroutines(t *testing.T) {
	t.Parallel()
	u := NewUniqueIDs(netip.MustParseAddr("::1"), 1, 2)
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[string]bool{}
	now := time.Now()
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				id := string(u.AppendNext(nil, now))
				mu.Lock()
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, seen, 8000)
}
