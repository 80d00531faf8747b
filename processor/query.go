package processor

import (
	"errors"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// QUERY_MESSAGE 12, VIEW_MESSAGE_BY_ID 33.
//
// Behavior:
// * 12 finds messages by a word of KEYS or, with _UNIQUE_KEY_QUERY=true, by the unique key; the index compares hashes only, so
//   clients look at the keys again.
// * 33 reads the record at a physical offset, which a client takes from an offset message id.
// * The bodies are records as they are stored.
//
// Apache: QueryMessageProcessor.

const (
	uniqueKeyQuery = "_UNIQUE_KEY_QUERY"
	// maxQueryBytes bounds the body of an answer, so that it fits into a frame.
	maxQueryBytes = codec.MaxFrameBytes - 1<<16
)

// queryMessage answers QUERY_MESSAGE.
func (p *Processor) queryMessage(req *remoting.Request) (*codec.Command, error) {
	var h codec.QueryMessageHeader
	if err := decodeHeader(req, &h, "topic", "key", "maxNum", "beginTimestamp", "endTimestamp"); err != nil {
		return nil, err
	}
	if flag, ok := req.Field(uniqueKeyQuery); ok && string(flag) == "true" {
		h.MaxNum = p.live().QueryMaxNum
	}
	physOffsets, lastMs, lastPhysOffset, err := p.store.QueryIndex(h.Topic, h.Key, int(h.MaxNum), h.BeginTimestampMs, h.EndTimestampMs)
	if errors.Is(err, store.ErrIndexBehind) {
		return nil, refuse(codec.SystemBusy, "the key index is still being built from the commit log, which it must be after a power cut: try again later")
	}
	if err != nil {
		return nil, err
	}
	header := new(codec.QueryMessageResponse)
	if len(physOffsets) > 0 { // Java tells the end of the index only then
		header.IndexLastUpdateTimestampMs, header.IndexLastUpdatePhysOffset = lastMs, lastPhysOffset
	}
	var body []byte
	for _, physOffset := range physOffsets {
		record, err := p.store.MessageAt(physOffset)
		if errors.Is(err, store.ErrNotFound) {
			continue // older than the log
		}
		if errors.Is(err, store.ErrCorrupt) {
			p.log.Warn("query message", "offset", physOffset, "error", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(body)+len(record) > maxQueryBytes {
			break
		}
		body = append(body, record...)
	}
	if len(body) == 0 {
		refusal := refuse(codec.QueryNotFound, "can not find message, maybe time range not correct")
		refusal.Header = header
		return nil, refusal
	}
	resp := req.Response(codec.Success)
	resp.Header, resp.Body = header, body
	return resp, nil
}

// viewMessage answers VIEW_MESSAGE_BY_ID.
func (p *Processor) viewMessage(req *remoting.Request) (*codec.Command, error) {
	var h codec.ViewMessageHeader
	if err := decodeHeader(req, &h, "offset"); err != nil {
		return nil, err
	}
	record, err := p.store.MessageAt(h.PhysOffset)
	if err != nil {
		if !errors.Is(err, store.ErrNotFound) {
			p.log.Warn("view message", "offset", h.PhysOffset, "error", err)
		}
		return nil, refuse(codec.SystemError, "can not find message by the offset, %d", h.PhysOffset)
	}
	resp := req.Response(codec.Success)
	resp.Body = record
	return resp, nil
}
