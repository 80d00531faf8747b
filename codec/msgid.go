package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"
)

const upperHex = "0123456789ABCDEF"

// ErrMsgID says that a text is no offset message id.
var ErrMsgID = errors.New("not an offset message id")

// AppendOffsetMsgID writes the id that names a message by its place: host (4 or 16 bytes), port (4) and physical offset
// (8) in upper-case hex. Apache: MessageDecoder.createMessageId.
func AppendOffsetMsgID(dst []byte, host netip.AddrPort, physOffset int64) []byte {
	var b [28]byte
	id := AppendHost(b[:0], host, host.Addr().Is6() && !host.Addr().Is4In6())
	id = binary.BigEndian.AppendUint64(id, uint64(physOffset))
	return appendHex(dst, id)
}

// ParseOffsetMsgID reads an id of AppendOffsetMsgID, 32 or 56 characters of hex in either case; else ErrMsgID. As in Java
// a character that is no digit counts as -1.
func ParseOffsetMsgID(s string) (host netip.AddrPort, physOffset int64, err error) {
	var b [28]byte
	if len(s) != 32 && len(s) != 56 {
		return host, 0, fmt.Errorf("%d characters: %w", len(s), ErrMsgID)
	}
	n := len(s) / 2
	for i := range n {
		b[i] = byte(hexDigit(s[2*i])<<4 | hexDigit(s[2*i+1]))
	}
	if port := binary.BigEndian.Uint32(b[n-12:]); port > 0xFFFF {
		return host, 0, fmt.Errorf("port %d: %w", port, ErrMsgID)
	}
	return hostAt(b[:], n == 28), int64(binary.BigEndian.Uint64(b[n-8:])), nil
}

// UniqueIDs makes the ids by which users know messages, UNIQ_KEY, for senders that set none: host (4 or 16 bytes),
// process (2), a random number (4), milliseconds since the first of the month (4) and a counter (2) in upper-case hex.
// Safe for use by several goroutines. Apache: MessageClientIDSetter.
type UniqueIDs struct {
	prefix  []byte // hex
	month   atomic.Pointer[monthSpan]
	counter atomic.Uint32
}

type monthSpan struct{ startMs, endMs int64 }

// NewUniqueIDs returns a generator for the process pid on the host ip; random tells two generators of it apart.
func NewUniqueIDs(ip netip.Addr, pid int, random uint32) *UniqueIDs {
	raw := ip.Unmap().AsSlice()
	if raw == nil {
		raw = make([]byte, 4)
	}
	raw = binary.BigEndian.AppendUint16(raw, uint16(pid))
	raw = binary.BigEndian.AppendUint32(raw, random)
	return &UniqueIDs{prefix: appendHex(nil, raw)}
}

// AppendNext writes the next id, made at now, whose location says when its month began.
func (u *UniqueIDs) AppendNext(dst []byte, now time.Time) []byte {
	nowMs := now.UnixMilli()
	month := u.month.Load()
	if month == nil || nowMs < month.startMs || nowMs >= month.endMs {
		first := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, now.Location())
		month = &monthSpan{first.UnixMilli(), first.AddDate(0, 1, 0).UnixMilli()}
		u.month.Store(month)
	}
	var b [6]byte
	binary.BigEndian.PutUint32(b[:], uint32(nowMs-month.startMs))
	binary.BigEndian.PutUint16(b[4:], uint16(u.counter.Add(1)-1))
	return appendHex(append(dst, u.prefix...), b[:])
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

func appendHex(dst, b []byte) []byte {
	for _, c := range b {
		dst = append(dst, upperHex[c>>4], upperHex[c&15])
	}
	return dst
}
