package compat

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Frame on the wire:
//
//	| total int32 | codec<<24 | header length | header | body |
//
// total counts what follows it. Codec 0 is a JSON header, 1 the binary one of RocketMQ.
const (
	codecJSON     = 0
	codecRocketMQ = 1

	maxFrameBytes = 64 << 20

	flagResponse = 1
	flagOneway   = 2

	goVersion = 317 // what the official Go client says of itself
)

// packet is a request or response as it is on the wire.
type packet struct {
	Code     int               `json:"code"`
	Language string            `json:"language"`
	Version  int               `json:"version"`
	Opaque   int32             `json:"opaque"`
	Flag     int               `json:"flag"`
	Remark   string            `json:"remark,omitempty"`
	Ext      map[string]string `json:"extFields,omitempty"`
	Body     []byte            `json:"-"`
	Codec    byte              `json:"-"`
}

func (p *packet) isResponse() bool { return p.Flag&flagResponse != 0 }

// encode is the packet's whole frame, in its codec.
func (p *packet) encode() []byte {
	var header []byte
	if p.Codec == codecRocketMQ {
		header = p.binaryHeader()
	} else {
		header, _ = json.Marshal(p) // strings, ints and a map of strings always encode
	}
	return frameOf(p.Codec, header, p.Body)
}

func frameOf(codec byte, header, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(header)+len(body)))
	b = binary.BigEndian.AppendUint32(b, uint32(codec)<<24|uint32(len(header)))
	return append(append(b, header...), body...)
}

// The numbers of languages in a binary header.
var languages = []string{"JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP",
	"OMS", "RUST", "NODE_JS"}

func (p *packet) binaryHeader() []byte {
	be := binary.BigEndian
	b := be.AppendUint16(nil, uint16(p.Code))
	language := byte(7)
	for i, name := range languages {
		if name == p.Language {
			language = byte(i)
		}
	}
	b = append(b, language)
	b = be.AppendUint16(b, uint16(p.Version))
	b = be.AppendUint32(b, uint32(p.Opaque))
	b = be.AppendUint32(b, uint32(p.Flag))
	b = append(be.AppendUint32(b, uint32(len(p.Remark))), p.Remark...)
	var ext []byte
	for k, v := range p.Ext {
		ext = append(be.AppendUint16(ext, uint16(len(k))), k...)
		ext = append(be.AppendUint32(ext, uint32(len(v))), v...)
	}
	return append(be.AppendUint32(b, uint32(len(ext))), ext...)
}

// readPacket reads one frame.
func readPacket(r *bufio.Reader) (*packet, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	total := binary.BigEndian.Uint32(head[:4])
	word := binary.BigEndian.Uint32(head[4:])
	headerLen := word & 0xFFFFFF
	if total < 4 || total > maxFrameBytes || headerLen > total-4 {
		return nil, fmt.Errorf("frame of %d bytes with a header of %d", total, headerLen)
	}
	b := make([]byte, total-4)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	p := &packet{Codec: byte(word >> 24)}
	if err := p.decodeHeader(b[:headerLen]); err != nil {
		return nil, err
	}
	p.Body = b[headerLen:]
	return p, nil
}

func (p *packet) decodeHeader(b []byte) error {
	switch p.Codec {
	case codecJSON:
		if err := json.Unmarshal(b, p); err != nil {
			return fmt.Errorf("header %q: %w", b, err)
		}
		return nil
	case codecRocketMQ:
		return p.decodeBinaryHeader(b)
	default:
		return fmt.Errorf("header codec %d", p.Codec)
	}
}

var errShortHeader = errors.New("binary header is short")

func (p *packet) decodeBinaryHeader(b []byte) error {
	be := binary.BigEndian
	if len(b) < 21 {
		return errShortHeader
	}
	p.Code = int(int16(be.Uint16(b)))
	if int(b[2]) < len(languages) {
		p.Language = languages[b[2]]
	}
	p.Version, p.Opaque, p.Flag = int(be.Uint16(b[3:])), int32(be.Uint32(b[5:])), int(be.Uint32(b[9:]))
	remark, b, err := cutBinary(b[13:], 4)
	if err != nil {
		return err
	}
	p.Remark = string(remark)
	ext, _, err := cutBinary(b, 4)
	if err != nil {
		return err
	}
	p.Ext = map[string]string{}
	for len(ext) > 0 {
		var k, v []byte
		if k, ext, err = cutBinary(ext, 2); err != nil {
			return err
		}
		if v, ext, err = cutBinary(ext, 4); err != nil {
			return err
		}
		p.Ext[string(k)] = string(v)
	}
	return nil
}

// cutBinary takes bytes that begin with their length, an integer of width bytes.
func cutBinary(b []byte, width int) (value, rest []byte, err error) {
	if len(b) < width {
		return nil, nil, errShortHeader
	}
	n := 0
	for _, c := range b[:width] {
		n = n<<8 | int(c)
	}
	if n > len(b)-width {
		return nil, nil, errShortHeader
	}
	return b[width : width+n], b[width+n:], nil
}
