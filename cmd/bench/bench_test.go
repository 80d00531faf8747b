package bench

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func TestLedger(t *testing.T) {
	t.Parallel()
	var l ledger
	for _, n := range []uint32{0, 63, 64, 1_000_000} {
		require.False(t, l.has(n))
		require.False(t, l.add(n))
		require.True(t, l.add(n), "the second time")
		require.True(t, l.has(n))
	}
	var all []uint32
	l.each(func(n uint32) { all = append(all, n) })
	require.Equal(t, []uint32{0, 63, 64, 1_000_000}, all)
}

func TestRequestsAreSends(t *testing.T) {
	t.Parallel()
	m := newMaker(7, 3, 100)
	for _, tt := range []struct {
		name string
		n    int
		code int32
	}{{"one", 1, codec.SendMessageV2}, {"batch", 3, codec.SendBatchMessage}} {
		t.Run(tt.name, func(t *testing.T) {
			frame := codec.AppendFrame(nil, m.request(queue{topic: "T", id: 5}, 40, tt.n, 9, 1_700_000_000_123_456_789))
			var c codec.Command
			require.NoError(t, codec.ParseFrame(frame, &c))
			require.Equal(t, tt.code, c.Code)
			require.Equal(t, int32(9), c.Opaque)
			var h codec.SendHeader
			require.NoError(t, codec.ParseSendHeader(&c, &h))
			require.Equal(t, "T", string(h.Topic))
			require.Equal(t, int32(5), h.QueueID)
			require.Equal(t, int64(1_700_000_000_123), h.BornTimestampMs)
			require.Equal(t, tt.n > 1, h.Batch)
			bodies := [][]byte{c.Body}
			if tt.n > 1 {
				bodies = nil
				it := codec.NewBatchIter(c.Body)
				for it.Next() {
					bodies = append(bodies, it.Body)
				}
				require.NoError(t, it.Err())
			}
			require.Len(t, bodies, tt.n)
			for i, body := range bodies {
				require.Len(t, body, 100)
				got, ok := readMark(body)
				require.True(t, ok)
				require.Equal(t, mark{7, 3, uint32(40 + i), 1_700_000_000_123_456_789}, got)
			}
		})
	}
}

func TestBodiesOfOthersHaveNoMark(t *testing.T) {
	t.Parallel()
	_, ok := readMark([]byte("short"))
	require.False(t, ok)
}

func TestWrongCommandLines(t *testing.T) {
	t.Parallel()
	failed := errors.New("a run")
	for args, want := range map[string]string{
		"--size=3":                           "--size 3: want 24 to 4194304",
		"--connections=0":                    "--connections 0: want 1 to 10000",
		"--batch=1024 --size=1048576":        "at most 4194304 bytes in one request",
		"--output=xml":                       `--output "xml": want text, json or csv`,
		"--output=tex":                       `--output "tex": want text, json or csv`,
		"--window=5000":                      "--window 5000: want 1 to 4096",
		"--namesrvAddr=127.0.0.1:1 --rate=1": failed.Error(),
	} {
		cmd := Command(func(error) error { return failed })
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetOut(io.Discard)
		cmd.SetErr(&bytes.Buffer{})
		cmd.SetArgs(append([]string{"produce"}, splitArgs(args)...))
		require.ErrorContains(t, cmd.ExecuteContext(context.Background()), want, args)
	}
}

func splitArgs(line string) (args []string) {
	for _, word := range bytes.Fields([]byte(line)) {
		args = append(args, string(word))
	}
	return args
}
