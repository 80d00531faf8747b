package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A frame, every integer big-endian (on the wire, do not change):
//
//	length   4   bytes that follow this field
//	word     4   high byte: Serialize; low 24 bits: length of the header
//	header   n   JSON object or binary, by the high byte
//	body     ..  the rest, may be empty
const (
	// MaxFrameBytes is the longest frame accepted, without its 4 length bytes. Apache: NettyDecoder.
	MaxFrameBytes = 16777216

	lengthBytes = 4
	wordBytes   = 4
	headBytes   = lengthBytes + wordBytes

	// maxFields bounds the extFields of one frame. Requests of all known clients have fewer than 40.
	maxFields = 4096
	// What a Command keeps between two frames is bounded, too.
	maxKeptScratchBytes = 256 << 10
	maxKeptFields       = 256
)

var (
	// ErrFrame means that bytes are no frame; the connection they came from is of no more use.
	ErrFrame = errors.New("codec: malformed frame")
	// ErrFrameTooLarge means that a frame is longer than MaxFrameBytes.
	ErrFrameTooLarge = errors.New("codec: frame too large")
)

// FrameLen returns the length in bytes of the frame that b begins with, its 4 length bytes included. The frame is whole when
// n ≤ len(b). With fewer than 4 bytes it returns 0. An impossible length is ErrFrame or ErrFrameTooLarge, before anything is
// read or allocated by it.
func FrameLen(b []byte) (n int, err error) {
	if len(b) < lengthBytes {
		return 0, nil
	}
	total := int(int32(binary.BigEndian.Uint32(b)))
	if total < wordBytes || total > MaxFrameBytes {
		return 0, lengthError(total)
	}
	if len(b) >= headBytes {
		word := binary.BigEndian.Uint32(b[lengthBytes:])
		if headerLen := int(word & 0xFFFFFF); headerLen > total-wordBytes || Serialize(word>>24) > SerializeRocketMQ {
			return 0, wordError(word, total)
		}
	}
	return total + lengthBytes, nil
}

func lengthError(total int) error {
	if total > MaxFrameBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrFrameTooLarge, total, MaxFrameBytes)
	}
	return fmt.Errorf("%w: length %d", ErrFrame, total)
}

func wordError(word uint32, total int) error {
	if Serialize(word>>24) > SerializeRocketMQ {
		return fmt.Errorf("%w: unknown header codec %d", ErrFrame, word>>24)
	}
	return fmt.Errorf("%w: header of %d bytes in a frame of %d", ErrFrame, word&0xFFFFFF, total)
}

// ParseFrame reads one whole frame, 4 length bytes included, into c, whatever c held before. c then aliases frame. It allocates
// nothing for a request without remark once c's own buffers have grown. Errors wrap ErrFrame or ErrFrameTooLarge.
// Apache: RemotingCommand.decode.
func ParseFrame(frame []byte, c *Command) error {
	c.reset()
	n, err := FrameLen(frame)
	if err != nil {
		return err
	}
	if len(frame) < headBytes || n != len(frame) {
		return fmt.Errorf("%w: %d bytes for a frame of %d", ErrFrame, len(frame), n)
	}
	word := binary.BigEndian.Uint32(frame[lengthBytes:])
	end := headBytes + int(word&0xFFFFFF)
	header := frame[headBytes:end]
	c.fields = header
	if end < len(frame) {
		c.Body = frame[end:]
	}
	if c.Serialize = Serialize(word >> 24); c.Serialize == SerializeJSON {
		return parseJSONHeader(header, c)
	}
	return parseBinaryHeader(header, c)
}

// reset clears c and keeps its buffers for the next frame.
func (c *Command) reset() {
	index, scratch := c.index[:0], c.scratch[:0]
	if cap(index) > maxKeptFields {
		index = nil
	}
	if cap(scratch) > maxKeptScratchBytes {
		scratch = nil
	}
	*c = Command{index: index, scratch: scratch}
}

// AppendFrame appends c as one frame to dst, in the header codec c.Serialize, with Body or, if there are any, Parts.
// Apache: RemotingCommand.encode.
func AppendFrame(dst []byte, c *Command) []byte {
	dst = AppendFrameHead(dst, c)
	if len(c.Parts) == 0 {
		return append(dst, c.Body...)
	}
	for _, part := range c.Parts {
		dst = append(dst, part...)
	}
	return dst
}

// AppendFrameHead appends all of c's frame but the body, whose length is accounted for. Apache: RemotingCommand.encodeHeader.
func AppendFrameHead(dst []byte, c *Command) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	if c.Serialize == SerializeRocketMQ {
		dst = appendBinaryHeader(dst, c)
	} else {
		dst = appendJSONHeader(dst, c)
	}
	bodyLen := len(c.Body)
	if len(c.Parts) > 0 {
		bodyLen = 0
		for _, part := range c.Parts {
			bodyLen += len(part)
		}
	}
	headerLen := len(dst) - start - headBytes
	binary.BigEndian.PutUint32(dst[start:], uint32(wordBytes+headerLen+bodyLen))
	binary.BigEndian.PutUint32(dst[start+lengthBytes:], uint32(headerLen)|uint32(c.Serialize)<<24)
	return dst
}
