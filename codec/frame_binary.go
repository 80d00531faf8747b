package codec

import (
	"encoding/binary"
	"fmt"
)

// The ROCKETMQ header, every integer big-endian (on the wire, do not change):
//
//	code      2   cut to 16 bits
//	language  1
//	version   2
//	opaque    4
//	flag      4
//	remark    4 + n
//	ext       4 + n   entries: key 2 + n, value 4 + n
//
// Apache: RocketMQSerializable.
const (
	binaryFixedBytes = 2 + 1 + 2 + 4 + 4
)

// cutCodes are the request codes which do not fit into 16 bits, by what is left of them. Apache answers those with code 3.
var cutCodes = [...]struct{ cut, code int32 }{
	{3442, PopMessage}, {3443, AckMessage}, {3444, PeekMessage}, {3445, ChangeMessageInvisibleTime}, {3446, Notification},
	{3447, PollingInfo}, {3448, PopRollback}, {3543, BatchAckMessage},
}

// parseBinaryHeader reads a frame's ROCKETMQ header into c.
func parseBinaryHeader(b []byte, c *Command) error {
	if len(b) < binaryFixedBytes+4 {
		return fmt.Errorf("%w: binary header of %d bytes", ErrFrame, len(b))
	}
	c.Code = int32(int16(binary.BigEndian.Uint16(b)))
	c.Language = Language(b[2])
	c.Version = int32(int16(binary.BigEndian.Uint16(b[3:])))
	c.Opaque = int32(binary.BigEndian.Uint32(b[5:]))
	c.Flag = int32(binary.BigEndian.Uint32(b[9:]))
	if c.Code >= cutCodes[0].cut && !c.IsResponse() {
		c.Code = wholeCode(c.Code)
	}
	pos := binaryFixedBytes
	n := int(int32(binary.BigEndian.Uint32(b[pos:])))
	pos += 4
	if n < 0 || n > len(b)-pos {
		return binaryError("remark", n, pos)
	}
	c.Remark = string(b[pos : pos+n])
	pos += n
	if len(b)-pos < 4 {
		return binaryError("extFields", len(b)-pos, pos)
	}
	n = int(int32(binary.BigEndian.Uint32(b[pos:])))
	pos += 4
	if n < 0 || n > len(b)-pos {
		return binaryError("extFields", n, pos)
	}
	return parseBinaryFields(b[:pos+n], pos, c)
}

// parseBinaryFields reads the entries from b[pos] to the end. An empty key or value counts as null, so there is no field.
func parseBinaryFields(b []byte, pos int, c *Command) error {
	for pos < len(b) {
		if len(b)-pos < 2 {
			return binaryError("key", len(b)-pos, pos)
		}
		keyLen := int(int16(binary.BigEndian.Uint16(b[pos:])))
		keyPos := pos + 2
		if keyLen < 0 || keyLen > len(b)-keyPos-4 {
			return binaryError("key", keyLen, pos)
		}
		pos = keyPos + keyLen
		valueLen := int(int32(binary.BigEndian.Uint32(b[pos:])))
		pos += 4
		if valueLen < 0 || valueLen > len(b)-pos {
			return binaryError("value", valueLen, pos)
		}
		if keyLen > 0 && valueLen > 0 && !c.addField(fieldRef{uint32(keyPos), uint32(keyLen), uint32(pos), uint32(valueLen)}) {
			return fmt.Errorf("%w: more than %d extFields", ErrFrame, maxFields)
		}
		pos += valueLen
	}
	return nil
}

func binaryError(what string, n, pos int) error {
	return fmt.Errorf("%w: bad binary header: %s of %d bytes at byte %d", ErrFrame, what, n, pos)
}

// wholeCode maps a cut request code back.
func wholeCode(code int32) int32 {
	for _, c := range cutCodes {
		if c.cut == code {
			return c.code
		}
	}
	return code
}

// appendBinaryHeader appends c's header.
func appendBinaryHeader(dst []byte, c *Command) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(c.Code))
	dst = append(dst, byte(c.Language))
	dst = binary.BigEndian.AppendUint16(dst, uint16(c.Version))
	dst = binary.BigEndian.AppendUint32(dst, uint32(c.Opaque))
	dst = binary.BigEndian.AppendUint32(dst, uint32(c.Flag))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(c.Remark)))
	dst = append(dst, c.Remark...)
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst, _ = appendFields(dst, c, true)
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}
