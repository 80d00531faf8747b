package remoting

import (
	"encoding/binary"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// benchEcho keeps window requests of code in flight on one connection. The client allocates nothing.
func benchEcho(b *testing.B, code int32, window, bodyBytes int) {
	s := serve(b, nil, nil)
	c := dial(b, s)
	frame := codec.AppendFrame(nil, &codec.Command{Code: code, Opaque: 1, Version: 317, Language: codec.LanguageGo,
		Body: make([]byte, bodyBytes), Extra: []codec.Field{{Key: "a", Value: "group"}, {Key: "b", Value: "topic"}, {Key: "e", Value: "3"}}})
	var burst []byte
	for range window {
		burst = append(burst, frame...)
	}
	in := make([]byte, 1<<20)
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for sent := 0; sent < b.N; {
		n := min(window, b.N-sent)
		_, err := c.Write(burst[:n*len(frame)])
		require.NoError(b, err)
		sent += n
		for have, got := 0, 0; got < n; {
			m, err := c.Read(in[have:])
			require.NoError(b, err)
			have += m
			pos := 0
			for have-pos >= 4 {
				size := 4 + int(binary.BigEndian.Uint32(in[pos:]))
				if have-pos < size {
					break
				}
				pos += size
				got++
			}
			have = copy(in, in[pos:have])
		}
	}
}

func BenchmarkEchoInline(b *testing.B)       { benchEcho(b, codeEcho, 32, 128) }
func BenchmarkEchoInline1KiB(b *testing.B)   { benchEcho(b, codeEcho, 32, 1024) }
func BenchmarkEchoInlineSingle(b *testing.B) { benchEcho(b, codeEcho, 1, 128) }
func BenchmarkEchoPooled(b *testing.B)       { benchEcho(b, codePooled, 32, 128) }
func BenchmarkEchoPooledSingle(b *testing.B) { benchEcho(b, codePooled, 1, 128) }

// BenchmarkCut finds the frames of a full read buffer and their entries, without running them.
func BenchmarkCut(b *testing.B) {
	l := &loop{srv: &Server{opts: DefaultOptions()}}
	table := NewTable([]Entry{{Code: 310, Handler: echo}})
	var buf []byte
	frames := 0
	for len(buf) < 64<<10 {
		buf = append(buf, request(310, int32(frames), string(make([]byte, 128)))...)
		frames++
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(buf) / frames))
	b.ResetTimer()
	for i := 0; i < b.N; i += frames {
		for used := 0; len(buf)-used >= 4; {
			size, err := l.frameLen(buf[used:])
			if err != nil || size > len(buf)-used {
				b.Fatal(size, err, io.ErrShortBuffer)
			}
			if codec.ParseFrame(buf[used:used+size], &l.req.Command) != nil || table.find(l.req.Code) == nil {
				b.Fatal("not parsed")
			}
			used += size
		}
	}
}
