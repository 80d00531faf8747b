package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
)

// Layout of a stored message, big-endian, on disk, do not change. Apache: MessageExtEncoder, MessageDecoder.
//
//	 0 total size 4 | 4 magic 4 | 8 body CRC 4 | 12 queue id 4 | 16 flag 4 | 20 queue offset 8 | 28 physical offset 8
//	36 sysFlag 4 | 40 born timestamp 8 | 48 born host 8 or 20 | store timestamp 8 | store host 8 or 20
//	reconsume times 4 | prepared transaction offset 8 | body length 4, body
//	topic length 1 (V1) or 2 (V2), topic | properties length 2, properties
//
// A host is the address, 4 or 16 bytes, and the port in 4; it has 16 when the sysFlag's bit for it is set.
const (
	PosTotalSize     = 0
	PosMagic         = 4
	PosBodyCRC       = 8
	PosQueueID       = 12
	PosFlag          = 16
	PosQueueOffset   = 20
	PosPhysOffset    = 28
	PosSysFlag       = 36
	PosBornTimestamp = 40
	PosBornHost      = 48
)

// Magic codes of a record, on disk, do not change.
const (
	MagicV1    uint32 = 0xDAA320A7 // topic length in one byte
	MagicV2    uint32 = 0xDAA320AB // topic length in two bytes
	MagicBlank uint32 = 0xCBD43194 // the rest of the file is filler
)

// Limits of the format.
const (
	MaxTopicV1Bytes    = math.MaxInt8
	MaxTopicBytes      = math.MaxInt16
	MaxPropertiesBytes = math.MaxInt16
)

const (
	hostV4Bytes     = 8
	hostV6Bytes     = 20
	minMessageBytes = 91 // V1, IPv4, all three parts empty
	blankHeadBytes  = 8
)

// Errors of decoding a stored message.
var (
	// ErrShort says that the bytes end before the message does.
	ErrShort = errors.New("message is cut short")
	// ErrMagic says that no known magic code stands where one should.
	ErrMagic = errors.New("message has an unknown magic code")
	// ErrBlank says that the record is the filler at the end of a file; its size is returned with it.
	ErrBlank = errors.New("end-of-file filler")
	// ErrSize says that the lengths inside a message do not add up to its size.
	ErrSize = errors.New("message sizes do not agree")
	// ErrCRC says that a body is not the one its checksum was made of.
	ErrCRC = errors.New("message body does not match its checksum")
)

// Message is one stored message. Body, Topic and Properties of a decoded one alias the bytes it was decoded from.
type Message struct {
	TotalSizeBytes            int32
	Magic                     uint32
	BodyCRC                   uint32
	QueueID                   int32
	Flag                      int32
	QueueOffset               int64
	PhysOffset                int64
	SysFlag                   int32
	BornTimestampMs           int64
	BornHost                  netip.AddrPort
	StoreTimestampMs          int64
	StoreHost                 netip.AddrPort
	ReconsumeTimes            int32
	PreparedTransactionOffset int64
	Body                      []byte
	Topic                     []byte
	Properties                []byte
}

// DecodeMessage reads the record at the beginning of b into m and returns its size. It checks every length but not the
// body's checksum, see Message.CheckBody. The errors are ErrShort, ErrMagic, ErrSize and, with the filler's size,
// ErrBlank.
func DecodeMessage(b []byte, m *Message) (n int, err error) {
	if len(b) < blankHeadBytes {
		return 0, ErrShort
	}
	total := int32(binary.BigEndian.Uint32(b))
	magic := binary.BigEndian.Uint32(b[PosMagic:])
	switch magic {
	case MagicV1, MagicV2:
	case MagicBlank:
		if total < blankHeadBytes {
			return 0, ErrSize
		}
		return int(total), ErrBlank
	default:
		return 0, ErrMagic
	}
	if total < minMessageBytes {
		return 0, ErrSize
	}
	if int(total) > len(b) {
		return 0, ErrShort
	}
	if err := m.decode(b[:total:total], magic); err != nil {
		return 0, err
	}
	return int(total), nil
}

// decode reads a record of exactly len(b) bytes, which is at least minMessageBytes.
func (m *Message) decode(b []byte, magic uint32) error {
	m.TotalSizeBytes = int32(len(b))
	m.Magic = magic
	m.BodyCRC = binary.BigEndian.Uint32(b[PosBodyCRC:])
	m.QueueID = int32(binary.BigEndian.Uint32(b[PosQueueID:]))
	m.Flag = int32(binary.BigEndian.Uint32(b[PosFlag:]))
	m.QueueOffset = int64(binary.BigEndian.Uint64(b[PosQueueOffset:]))
	m.PhysOffset = int64(binary.BigEndian.Uint64(b[PosPhysOffset:]))
	m.SysFlag = int32(binary.BigEndian.Uint32(b[PosSysFlag:]))
	m.BornTimestampMs = int64(binary.BigEndian.Uint64(b[PosBornTimestamp:]))
	if len(b) < PosBody(m.SysFlag)+4 {
		return ErrSize
	}
	m.BornHost = hostAt(b[PosBornHost:], m.SysFlag&SysBornHostV6 != 0)
	at := PosStoreTimestamp(m.SysFlag)
	m.StoreTimestampMs = int64(binary.BigEndian.Uint64(b[at:]))
	m.StoreHost = hostAt(b[at+8:], m.SysFlag&SysStoreHostV6 != 0)
	at = PosReconsumeTimes(m.SysFlag)
	m.ReconsumeTimes = int32(binary.BigEndian.Uint32(b[at:]))
	m.PreparedTransactionOffset = int64(binary.BigEndian.Uint64(b[at+4:]))

	rest := b[at+12:]
	var ok bool
	if m.Body, rest, ok = cutSized(rest, 4, math.MaxInt32); !ok {
		return ErrSize
	}
	if magic == MagicV2 {
		m.Topic, rest, ok = cutSized(rest, 2, MaxTopicBytes)
	} else {
		m.Topic, rest, ok = cutSized(rest, 1, MaxTopicV1Bytes)
	}
	if !ok {
		return ErrSize
	}
	if m.Properties, rest, ok = cutSized(rest, 2, MaxPropertiesBytes); !ok || len(rest) != 0 {
		return ErrSize
	}
	return nil
}

// cutSized cuts a piece with its length, of width bytes, in front; false when the length is above limit or b ends
// before.
func cutSized(b []byte, width, limit int) (piece, rest []byte, ok bool) {
	if len(b) < width {
		return nil, nil, false
	}
	var n uint32
	switch width {
	case 1:
		n = uint32(b[0])
	case 2:
		n = uint32(binary.BigEndian.Uint16(b))
	default:
		n = binary.BigEndian.Uint32(b)
	}
	b = b[width:]
	if n > uint32(limit) || uint64(n) > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}

// CheckBody returns ErrCRC when the body does not match BodyCRC. As in Java an empty body is not looked at.
func (m *Message) CheckBody() error {
	if len(m.Body) == 0 {
		return nil
	}
	if crc := BodyCRC(m.Body); crc != m.BodyCRC {
		return fmt.Errorf("body CRC %08x, stored %08x: %w", crc, m.BodyCRC, ErrCRC)
	}
	return nil
}

// AppendMessage writes m as it is stored, with its size and body checksum computed and the host widths that SysFlag
// names. A Magic of 0 becomes the one the topic's length asks for. The caller keeps to the format's limits: topic up to
// MaxTopicBytes (MaxTopicV1Bytes with MagicV1) and properties up to MaxPropertiesBytes.
func AppendMessage(dst []byte, m *Message) []byte {
	magic := m.Magic
	if magic == 0 {
		magic = MagicFor(len(m.Topic))
	}
	size := MessageSize(len(m.Body), len(m.Topic), len(m.Properties), m.SysFlag)
	if narrow := len(m.Topic) <= MaxTopicV1Bytes; narrow && magic == MagicV2 {
		size++
	} else if !narrow && magic == MagicV1 {
		size--
	}
	var head [MaxMessageHeadBytes]byte
	n := PutMessageHead(&head, &MessageHead{
		QueueID: m.QueueID, Flag: m.Flag, SysFlag: m.SysFlag, ReconsumeTimes: m.ReconsumeTimes, QueueOffset: m.QueueOffset,
		PhysOffset: m.PhysOffset, BornTimestampMs: m.BornTimestampMs, StoreTimestampMs: m.StoreTimestampMs,
		PreparedTransactionOffset: m.PreparedTransactionOffset, BornHost: &m.BornHost, StoreHost: &m.StoreHost,
	})
	binary.BigEndian.PutUint32(head[PosTotalSize:], uint32(size))
	binary.BigEndian.PutUint32(head[PosMagic:], magic)
	binary.BigEndian.PutUint32(head[PosBodyCRC:], BodyCRC(m.Body))
	binary.BigEndian.PutUint32(head[n-4:], uint32(len(m.Body)))
	dst = append(dst, head[:n]...)
	dst = append(dst, m.Body...)
	if magic == MagicV2 {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(m.Topic)))
	} else {
		dst = append(dst, byte(len(m.Topic)))
	}
	dst = append(dst, m.Topic...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(m.Properties)))
	return append(dst, m.Properties...)
}

// MaxMessageHeadBytes is what comes before a message's body with two IPv6 hosts.
const MaxMessageHeadBytes = PosBornHost + 2*hostV6Bytes + 8 + 4 + 8 + 4

// MessageHead is what comes before a message's body, as far as PutMessageHead writes it.
type MessageHead struct {
	QueueID, Flag, SysFlag, ReconsumeTimes int32
	QueueOffset, PhysOffset                int64
	BornTimestampMs, StoreTimestampMs      int64
	PreparedTransactionOffset              int64
	BornHost, StoreHost                    *netip.AddrPort
}

// PutMessageHead writes what comes before a message's body and returns its length. Size, magic code, checksum and length of the
// body, the last four bytes, are left to the caller, who knows them.
func PutMessageHead(dst *[MaxMessageHeadBytes]byte, m *MessageHead) int {
	binary.BigEndian.PutUint32(dst[PosQueueID:], uint32(m.QueueID))
	binary.BigEndian.PutUint32(dst[PosFlag:], uint32(m.Flag))
	binary.BigEndian.PutUint64(dst[PosQueueOffset:], uint64(m.QueueOffset))
	binary.BigEndian.PutUint64(dst[PosPhysOffset:], uint64(m.PhysOffset))
	binary.BigEndian.PutUint32(dst[PosSysFlag:], uint32(m.SysFlag))
	binary.BigEndian.PutUint64(dst[PosBornTimestamp:], uint64(m.BornTimestampMs))
	n := PosBornHost + putHost(dst[PosBornHost:], m.BornHost, m.SysFlag&SysBornHostV6 != 0)
	rest := dst[n:]
	binary.BigEndian.PutUint64(rest, uint64(m.StoreTimestampMs))
	at := 8 + putHost(rest[8:], m.StoreHost, m.SysFlag&SysStoreHostV6 != 0)
	rest = rest[at:]
	binary.BigEndian.PutUint32(rest, uint32(m.ReconsumeTimes))
	binary.BigEndian.PutUint64(rest[4:], uint64(m.PreparedTransactionOffset))
	return n + at + 16
}

// AppendBlank writes the head of the filler record that takes the last size bytes of a file; what follows the head is
// undefined.
func AppendBlank(dst []byte, size int) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(size))
	return binary.BigEndian.AppendUint32(dst, MagicBlank)
}

// MagicFor returns the magic code for a topic of topicLen bytes: MagicV2 above 127.
func MagicFor(topicLen int) uint32 {
	if topicLen > MaxTopicV1Bytes {
		return MagicV2
	}
	return MagicV1
}

// MessageSize returns the bytes a stored message takes, with the magic code that MagicFor chooses.
func MessageSize(bodyLen, topicLen, propsLen int, sysFlag int32) int {
	n := PosBody(sysFlag) + 4 + bodyLen + 1 + topicLen + 2 + propsLen
	if topicLen > MaxTopicV1Bytes {
		n++
	}
	return n
}

// PosStoreTimestamp returns where the store timestamp stands, which depends on the width of the born host.
func PosStoreTimestamp(sysFlag int32) int {
	if sysFlag&SysBornHostV6 != 0 {
		return PosBornHost + hostV6Bytes
	}
	return PosBornHost + hostV4Bytes
}

// PosStoreHost returns where the store host stands.
func PosStoreHost(sysFlag int32) int { return PosStoreTimestamp(sysFlag) + 8 }

// PosReconsumeTimes returns where the reconsume times stand; the prepared transaction offset follows 4 bytes later.
func PosReconsumeTimes(sysFlag int32) int {
	if sysFlag&SysStoreHostV6 != 0 {
		return PosStoreHost(sysFlag) + hostV6Bytes
	}
	return PosStoreHost(sysFlag) + hostV4Bytes
}

// PosBody returns where the body's length stands; the body follows 4 bytes later.
func PosBody(sysFlag int32) int { return PosReconsumeTimes(sysFlag) + 12 }

// BodyCRC returns the checksum of a body as it is stored: CRC-32 (IEEE) without the sign bit. Apache: UtilAll.crc32.
func BodyCRC(body []byte) uint32 { return checksum(body) & math.MaxInt32 }

// AppendHost writes a host as a message holds it, 20 bytes with v6 and else 8. An address that does not fit, and none,
// is written as zeros.
func AppendHost(dst []byte, host netip.AddrPort, v6 bool) []byte {
	var b [hostV6Bytes]byte
	return append(dst, b[:putHost(b[:], &host, v6)]...)
}

// putHost is AppendHost into the beginning of dst. It returns how many bytes that is.
func putHost(dst []byte, host *netip.AddrPort, v6 bool) int {
	addr := host.Addr()
	n := 4
	switch {
	case v6 && addr.IsValid():
		*(*[16]byte)(dst) = addr.As16()
		n = 16
	case v6:
		*(*[16]byte)(dst) = [16]byte{}
		n = 16
	case addr.Is4() || addr.Is4In6():
		*(*[4]byte)(dst) = addr.As4()
	default:
		*(*[4]byte)(dst) = [4]byte{}
	}
	binary.BigEndian.PutUint32(dst[n:], uint32(host.Port()))
	return n + 4
}

// hostAt reads a host; of a port above 65535, which no sender writes, the low 16 bits.
func hostAt(b []byte, v6 bool) netip.AddrPort {
	if v6 {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)), uint16(binary.BigEndian.Uint32(b[16:])))
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), uint16(binary.BigEndian.Uint32(b[4:])))
}
