package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	jsoniter "github.com/json-iterator/go"
	"github.com/klauspost/compress/zlib"
)

// The compressed body is a zlib stream of pieces, each an int32 length, big-endian, and its bytes:
//
//	data version (JSON) | int32 count, topics (text) | filter servers (JSON) | int32 count, mappings (JSON), from V5_0_0 on
//
// A topic's text is "name readQueueNums writeQueueNums perm filterType {attributes JSON}"; order and sysFlag are lost.

// RegisterBrokerBody is what a broker sends to each name server: all its topics. Apache: RegisterBrokerBody.
type RegisterBrokerBody struct {
	FilterServerList            []string              `json:"filterServerList"`
	TopicConfigSerializeWrapper TopicConfigAndMapping `json:"topicConfigSerializeWrapper"`
}

const (
	versionV500      = 413      // MQVersion ordinal of V5_0_0
	maxRegisterBytes = 64 << 20 // of an inflated body
)

var errRegisterBody = errors.New("malformed registration body")

// EncodeRegisterBrokerBody writes the body as REGISTER_BROKER carries it for a receiver that takes version as the
// sender's: JSON, or with compressed the zlib stream.
func EncodeRegisterBrokerBody(b *RegisterBrokerBody, compressed bool, version int32) ([]byte, error) {
	if !compressed {
		return MarshalJSON(b)
	}
	w := &b.TopicConfigSerializeWrapper
	var raw []byte
	raw, err := appendJSONPiece(raw, w.DataVersion)
	if err != nil {
		return nil, err
	}
	raw = binary.BigEndian.AppendUint32(raw, uint32(len(w.TopicConfigTable)))
	for _, topic := range w.TopicConfigTable {
		if raw, err = appendTopicLine(raw, topic); err != nil {
			return nil, err
		}
	}
	if raw, err = appendJSONPiece(raw, b.FilterServerList); err != nil {
		return nil, err
	}
	if version >= versionV500 {
		raw = binary.BigEndian.AppendUint32(raw, uint32(len(w.TopicQueueMappingInfoMap)))
		for _, info := range w.TopicQueueMappingInfoMap {
			if raw, err = appendJSONPiece(raw, info); err != nil {
				return nil, err
			}
		}
	}
	var out bytes.Buffer
	z, err := zlib.NewWriterLevel(&out, zlib.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("deflate registration body: %w", err)
	}
	if _, err = z.Write(raw); err == nil {
		err = z.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("deflate registration body: %w", err)
	}
	return out.Bytes(), nil
}

// DecodeRegisterBrokerBody reads the body of REGISTER_BROKER of a sender with the given version ordinal. A compressed
// body may inflate to 64 MiB.
func DecodeRegisterBrokerBody(data []byte, compressed bool, version int32) (*RegisterBrokerBody, error) {
	b := new(RegisterBrokerBody)
	if !compressed {
		return b, UnmarshalJSON(data, b)
	}
	raw, err := inflate(data, maxRegisterBytes+1)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxRegisterBytes {
		return nil, fmt.Errorf("inflates to more than %d bytes: %w", maxRegisterBytes, errRegisterBody)
	}
	r := pieceReader{rest: raw}
	w := &b.TopicConfigSerializeWrapper
	r.json(&w.DataVersion)
	w.TopicConfigTable = make(map[string]*TopicConfig)
	for n := r.count(); n > 0 && r.err == nil; n-- {
		topic, err := parseTopicLine(string(r.piece()))
		if err != nil && r.err == nil {
			return nil, err
		}
		if topic != nil {
			w.TopicConfigTable[topic.TopicName] = topic
		}
	}
	if err := UnmarshalJSON(r.piece(), &b.FilterServerList); err != nil {
		b.FilterServerList = nil // Java goes on without it
	}
	if version >= versionV500 {
		w.TopicQueueMappingInfoMap = make(map[string]*TopicQueueMappingInfo)
		for n := r.count(); n > 0 && r.err == nil; n-- {
			info := new(TopicQueueMappingInfo)
			r.json(info)
			w.TopicQueueMappingInfoMap[info.Topic] = info
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return b, nil
}

// PeekRegisterBrokerBody reads no more of the body of REGISTER_BROKER than its data version. It reports false when the
// body must be read in full: the version does not come first, filter servers come with it, or it is malformed.
func PeekRegisterBrokerBody(data []byte, compressed bool) (DataVersion, bool) {
	if compressed {
		var v DataVersion
		raw, _ := inflate(data, 512)
		r := pieceReader{rest: raw}
		r.json(&v)
		return v, r.err == nil
	}
	p := registerPeek{}
	iter := standardJSON.BorrowIterator(data)
	defer standardJSON.ReturnIterator(iter)
	iter.ReadMapCB(p.body)
	return p.version, p.found
}

type registerPeek struct {
	version DataVersion
	found   bool
}

func (p *registerPeek) body(iter *jsoniter.Iterator, name string) bool {
	switch name {
	case "filterServerList":
		return !iter.ReadArray()
	case "topicConfigSerializeWrapper":
		iter.ReadMapCB(func(iter *jsoniter.Iterator, name string) bool {
			if name == "dataVersion" {
				iter.ReadVal(&p.version)
				p.found = iter.Error == nil
			}
			return false
		})
	}
	return false
}

// inflate returns at most limit bytes of a zlib stream; cut at limit the stream's checksum is not looked at.
func inflate(data []byte, limit int64) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("inflate registration body: %w", err)
	}
	defer z.Close()
	raw, err := io.ReadAll(io.LimitReader(z, limit))
	if err != nil {
		return nil, fmt.Errorf("inflate registration body: %w", err)
	}
	return raw, nil
}

// pieceReader cuts length-prefixed pieces; after the first error it yields nothing.
type pieceReader struct {
	rest []byte
	err  error
}

func (r *pieceReader) piece() []byte {
	if r.err != nil {
		return nil
	}
	piece, rest, ok := cutSized(r.rest, 4, math.MaxInt32)
	if !ok {
		r.err = fmt.Errorf("%d bytes before its end: %w", len(r.rest), errRegisterBody)
	}
	r.rest = rest
	return piece
}

func (r *pieceReader) count() uint32 {
	if r.err != nil || len(r.rest) < 4 {
		r.err = errors.Join(r.err, errRegisterBody)
		return 0
	}
	n := binary.BigEndian.Uint32(r.rest)
	r.rest = r.rest[4:]
	return n
}

func (r *pieceReader) json(v any) {
	if piece := r.piece(); r.err == nil {
		r.err = UnmarshalJSON(piece, v)
	}
}

func appendJSONPiece(dst []byte, v any) ([]byte, error) {
	b, err := MarshalJSON(v)
	if err != nil {
		return nil, err
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(b)))
	return append(dst, b...), nil
}

func appendTopicLine(dst []byte, c *TopicConfig) ([]byte, error) {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, c.TopicName...)
	for _, n := range [...]int32{c.ReadQueueNums, c.WriteQueueNums, c.Perm} {
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, int64(n), 10)
	}
	dst = append(dst, ' ')
	dst = append(dst, c.TopicFilterType...)
	dst = append(dst, ' ')
	attributes, err := MarshalJSON(c.Attributes)
	if err != nil {
		return nil, err
	}
	dst = append(dst, attributes...)
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst, nil
}

// parseTopicLine reads a topic's text. Attributes that cannot be read are left out, as Java does.
func parseTopicLine(line string) (*TopicConfig, error) {
	parts := strings.SplitN(line, " ", 6)
	if len(parts) < 5 {
		return nil, fmt.Errorf("topic line %q: %w", line, errRegisterBody)
	}
	c := NewTopicConfig(parts[0])
	for i, dst := range []*int32{&c.ReadQueueNums, &c.WriteQueueNums, &c.Perm} {
		n, err := strconv.ParseInt(parts[i+1], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("topic line %q: %w", line, errRegisterBody)
		}
		*dst = int32(n)
	}
	c.TopicFilterType = parts[4]
	if c.TopicFilterType != FilterSingleTag && c.TopicFilterType != FilterMultiTag {
		return nil, fmt.Errorf("topic line %q: %w", line, errRegisterBody)
	}
	if len(parts) == 6 {
		if err := UnmarshalJSON([]byte(parts[5]), &c.Attributes); err != nil {
			c.Attributes = nil
		}
	}
	return c, nil
}
