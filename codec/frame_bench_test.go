package codec

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A send as the Java client 5.x writes it, with the properties of an ordinary message.
const sendV2JSON = `{"code":310,"extFields":{"a":"please_rename_unique_group_name","b":"TopicTest","c":"TBW102","d":"4","e":"2","f":"0","g":"1732147200123",` +
	`"h":"0","i":"KEYS\u0001order-10086\u0002UNIQ_KEY\u0001C0A80164000018B4AAC2138C5B880000\u0002WAIT\u0001true\u0002TAGS\u0001TagA",` +
	`"j":"0","k":"false","l":"0","m":"false","n":"broker-a"},"flag":0,"language":"JAVA","opaque":1234,"serializeTypeCurrentRPC":"JSON","version":493}`

const pullJSON = `{"code":11,"extFields":{"queueId":"3","maxMsgNums":"32","sysFlag":"2","suspendTimeoutMillis":"15000","commitOffset":"0","topic":"TopicTest",` +
	`"queueOffset":"123456","expressionType":"TAG","subVersion":"1732147200123","consumerGroup":"please_rename_unique_group_name"},"flag":0,` +
	`"language":"JAVA","opaque":1234,"serializeTypeCurrentRPC":"JSON","version":493}`

func sendFrame(t testing.TB, serialize Serialize) []byte {
	var c Command
	require.NoError(t, ParseFrame(jsonFrame(sendV2JSON), &c))
	out := Command{Code: c.Code, Version: c.Version, Opaque: c.Opaque, Serialize: serialize, Body: make([]byte, 1024)}
	if serialize == SerializeJSON {
		return append(jsonFrame(sendV2JSON), out.Body...)
	}
	for it := c.Fields(); it.Next(); {
		out.Extra = append(out.Extra, Field{string(it.Key), string(it.Value)})
	}
	return AppendFrame(nil, &out)
}

// wholeSendFrame is sendFrame with the body accounted for.
func wholeSendFrame(t testing.TB, serialize Serialize) []byte {
	frame := sendFrame(t, serialize)
	if serialize == SerializeJSON {
		total := len(frame) - 4
		frame[2], frame[3] = byte(total>>8), byte(total)
	}
	return frame
}

func sendResponse() *Command {
	return &Command{Flag: FlagResponse, Version: Version, Opaque: 1234, Header: &SendResponse{MsgID: []byte("7F0000010000 2A9F0000000000000000"),
		QueueID: 2, QueueOffset: 123456, TransactionID: []byte("C0A80164000018B4AAC2138C5B880000"), RegionID: "DefaultRegion", TraceOn: "true"}}
}

// The hot paths allocate nothing once their buffers have grown.
func TestHotPathsDoNotAllocate(t *testing.T) {
	var c Command
	var send SendHeader
	var pull PullHeader
	var offset OffsetHeader
	pullFrame := jsonFrame(pullJSON)
	response, pullResponse := sendResponse(), &Command{Header: &PullResponse{MaxOffset: 5, TopicSysFlag: new(int32)}}
	dst := make([]byte, 0, 4096)
	paths := map[string]func(){}
	for name, serialize := range map[string]Serialize{"JSON": SerializeJSON, "binary": SerializeRocketMQ} {
		frame := wholeSendFrame(t, serialize)
		paths["send "+name] = func() {
			n, err := FrameLen(frame)
			require.NoError(t, err)
			if n != len(frame) || ParseFrame(frame, &c) != nil || ParseSendHeader(&c, &send) != nil || len(send.Properties) != 78 {
				t.Fatal("send is not parsed", len(send.Properties))
			}
		}
	}
	paths["pull"] = func() {
		if ParseFrame(pullFrame, &c) != nil || ParsePullHeader(&c, &pull) != nil || pull.QueueOffset != 123456 {
			t.Fatal("pull is not parsed")
		}
	}
	paths["offset"] = func() {
		if ParseFrame(pullFrame, &c) != nil {
			t.Fatal("frame is not parsed")
		}
		if ParseOffsetHeader(&c, &offset); offset.QueueID != 3 {
			t.Fatal("offset is not parsed")
		}
	}
	paths["send response"] = func() { dst = AppendFrame(dst[:0], response) }
	paths["pull response"] = func() { dst = AppendFrameHead(dst[:0], pullResponse) }
	for name, path := range paths {
		require.Zero(t, testing.AllocsPerRun(100, path), name)
	}
}

func BenchmarkFrameCut(b *testing.B) {
	frame := wholeSendFrame(b, SerializeJSON)
	buf := append(append([]byte{}, frame...), frame...)
	b.ReportAllocs()
	for b.Loop() {
		n, err := FrameLen(buf)
		if err != nil || n > len(buf) {
			b.Fatal(n, err)
		}
	}
}

func benchmarkParseSend(b *testing.B, serialize Serialize) {
	frame := wholeSendFrame(b, serialize)
	var c Command
	var h SendHeader
	b.ReportAllocs()
	b.SetBytes(int64(len(c.fields)))
	for b.Loop() {
		if ParseFrame(frame, &c) != nil || ParseSendHeader(&c, &h) != nil {
			b.Fatal("bad frame")
		}
	}
}

func BenchmarkParseSendHeaderJSON(b *testing.B)   { benchmarkParseSend(b, SerializeJSON) }
func BenchmarkParseSendHeaderBinary(b *testing.B) { benchmarkParseSend(b, SerializeRocketMQ) }

func BenchmarkParsePullHeader(b *testing.B) {
	frame := jsonFrame(pullJSON)
	var c Command
	var h PullHeader
	b.ReportAllocs()
	for b.Loop() {
		if ParseFrame(frame, &c) != nil || ParsePullHeader(&c, &h) != nil {
			b.Fatal("bad frame")
		}
	}
}

func BenchmarkAppendSendResponse(b *testing.B) {
	response := sendResponse()
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendFrame(dst[:0], response)
	}
}
