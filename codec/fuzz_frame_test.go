package codec

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func addGoldenFrames(f *testing.F) {
	for _, g := range headerGoldens(f) {
		f.Add(g.bytes(f))
	}
	f.Add(jsonFrame(sendV2JSON))
	f.Add(jsonFrame(pullJSON))
	f.Add(jsonFrame(`{"x":[{"a":"\ud83d\ude80"}],"extFields":{"a":null,"b":[1,{"c":"}"}]}, "code" : -1 }`))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
}

// What is written of a parsed frame parses to the same, in either codec.
func FuzzParseFrame(f *testing.F) {
	addGoldenFrames(f)
	f.Fuzz(func(t *testing.T, frame []byte) {
		n, err := FrameLen(frame)
		if err == nil && len(frame) >= 4 {
			require.GreaterOrEqual(t, n, headBytes)
			require.LessOrEqual(t, n, MaxFrameBytes+4)
		}
		before := bytes.Clone(frame)
		var c, again Command
		parseErr := ParseFrame(frame, &c)
		require.Equal(t, before, frame)
		if parseErr != nil {
			require.NotNil(t, parseErr)
			return
		}
		require.NoError(t, err)
		require.Equal(t, len(frame), n)
		if c.Serialize == SerializeJSON {
			agreesWithStandardJSON(t, &c)
		}
		out := Command{Code: c.Code, Language: c.Language, Version: c.Version, Opaque: c.Opaque, Flag: c.Flag, Remark: c.Remark,
			Serialize: c.Serialize, Body: c.Body}
		valid := utf8.ValidString(c.Remark)
		for it := c.Fields(); it.Next(); {
			out.Extra = append(out.Extra, Field{string(it.Key), string(it.Value)})
			valid = valid && utf8.Valid(it.Key) && utf8.Valid(it.Value)
		}
		require.NoError(t, ParseFrame(AppendFrame(nil, &out), &again))
		require.Equal(t, c.Opaque, again.Opaque)
		require.Equal(t, string(c.Body), string(again.Body))
		if valid || c.Serialize == SerializeRocketMQ {
			require.Equal(t, c.Remark, again.Remark)
			require.Equal(t, fieldsOf(&c), fieldsOf(&again))
		}
	})
}

// agreesWithStandardJSON checks the fields of a parsed JSON header against encoding/json, as far as that accepts it.
func agreesWithStandardJSON(t *testing.T, c *Command) {
	var members map[string]json.RawMessage
	var fields map[string]any
	if !utf8.Valid(c.fields) || json.Unmarshal(c.fields, &members) != nil || json.Unmarshal(members["extFields"], &fields) != nil {
		return
	}
	got := fieldsOf(c)
	for key, value := range fields {
		switch text := value.(type) {
		case string:
			require.Equal(t, text, got[key])
		case nil:
		default:
			require.Contains(t, got, key)
		}
	}
}

func FuzzFrameLen(f *testing.F) {
	addGoldenFrames(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := FrameLen(b)
		if len(b) < 4 || err != nil {
			require.Zero(t, n)
			return
		}
		require.Equal(t, int(binary.BigEndian.Uint32(b))+4, n)
	})
}

func FuzzDecodeHeader(f *testing.F) {
	addGoldenFrames(f)
	f.Fuzz(func(t *testing.T, frame []byte) {
		var c Command
		if ParseFrame(frame, &c) != nil {
			return
		}
		for _, h := range []any{&CreateTopicHeader{}, &ResetOffsetHeader{}, &RegisterBrokerHeader{}, &ReplyMessageHeader{}, &BrokerHeartbeatHeader{}} {
			if err := DecodeHeader(&c, h); err != nil {
				require.ErrorIs(t, err, ErrHeader)
			}
		}
	})
}

func FuzzHotHeaders(f *testing.F) {
	addGoldenFrames(f)
	f.Fuzz(func(t *testing.T, frame []byte) {
		var c Command
		if ParseFrame(frame, &c) != nil {
			return
		}
		var send SendHeader
		var pull PullHeader
		var offset OffsetHeader
		for _, code := range []int32{SendMessage, SendMessageV2} {
			c.Code = code
			if err := ParseSendHeader(&c, &send); err != nil {
				require.ErrorIs(t, err, ErrHeader)
			}
		}
		if err := ParsePullHeader(&c, &pull); err != nil {
			require.ErrorIs(t, err, ErrHeader)
		}
		ParseOffsetHeader(&c, &offset)
		value, ok := c.Field("queueId")
		n, isNumber := parseInt32(value)
		require.Equal(t, ok && isNumber, offset.HasQueueID)
		if isNumber {
			require.Equal(t, n, offset.QueueID)
		}
	})
}
