package codec

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
)

// ErrRecallHandle says that a recall handle is none. The text is Java's.
var ErrRecallHandle = errors.New("recall handle is invalid")

// RecallHandle names a timer message that can be taken back. Apache: RecallMessageHandle.HandleV1.
type RecallHandle struct {
	Topic, BrokerName string
	// TimestampMs is a moment in the message's slot in ms since 1970, as text.
	TimestampMs string
	// MessageID is the unique key.
	MessageID string
}

const recallVersion = "v1"

// AppendRecallHandle writes the handle of a message whose slot begins at slotMs, in ms since 1970: the padded base64url of
// its parts with blanks between them.
func AppendRecallHandle(dst []byte, topic, brokerName string, slotMs int64, uniqKey []byte) []byte {
	raw := make([]byte, 0, len(topic)+len(brokerName)+len(uniqKey)+32)
	raw = append(append(append(raw, recallVersion+" "...), topic...), ' ')
	raw = append(append(raw, brokerName...), ' ')
	raw = append(strconv.AppendInt(raw, slotMs+1, 10), ' ')
	raw = append(raw, uniqKey...)
	return base64.URLEncoding.AppendEncode(dst, raw)
}

// ParseRecallHandle reads a handle, with or without padding; ErrRecallHandle for what is none. Apache:
// RecallMessageHandle.decodeHandle.
func ParseRecallHandle(text string) (h RecallHandle, err error) {
	if strings.ContainsAny(text, "\r\n") { // Go passes over them, Java does not
		return h, ErrRecallHandle
	}
	coding := base64.URLEncoding
	if !strings.HasSuffix(text, "=") {
		coding = base64.RawURLEncoding
	}
	raw, err := coding.DecodeString(text)
	if err != nil || strings.ContainsAny(string(raw), "\x01\x02") { // those would end a property
		return h, ErrRecallHandle
	}
	parts := strings.Split(strings.TrimRight(string(raw), " "), " ")
	if parts[0] != recallVersion || len(parts) < 5 {
		return h, ErrRecallHandle
	}
	return RecallHandle{Topic: parts[1], BrokerName: parts[2], TimestampMs: parts[3], MessageID: parts[4]}, nil
}

// RecallMessageHeader is the custom header of RECALL_MESSAGE. Apache: RecallMessageRequestHeader.
type RecallMessageHeader struct {
	ProducerGroup string `field:"producerGroup"`
	Topic         string `field:"topic"`
	RecallHandle  string `field:"recallHandle"`
}

// RecallMessageResponse is the custom header of the answer to RECALL_MESSAGE. Apache: RecallMessageResponseHeader.
type RecallMessageResponse struct {
	// MsgID is the unique key of the message; empty in a refusal.
	MsgID    string
	RegionID string
}

// AppendFields writes the header's fields.
func (r *RecallMessageResponse) AppendFields(w *FieldWriter) {
	if r.MsgID != "" {
		w.String("msgId", r.MsgID)
	}
	w.String("MSG_REGION", r.RegionID)
}
