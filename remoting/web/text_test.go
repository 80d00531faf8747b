package web

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// A connection beyond the bound waits until another one has gone.
func TestTextConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	s, err := OpenText("127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	idle := make([]net.Conn, maxTextConns)
	for i := range idle {
		idle[i], err = net.Dial("tcp", s.Addr().String())
		require.NoError(t, err)
		defer idle[i].Close()
	}
	got := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + s.Addr().String())
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		got <- string(b)
	}()
	require.Empty(t, got)
	require.NoError(t, idle[0].Close())
	require.Equal(t, "hello", <-got)
	for _, c := range idle[1:] {
		require.NoError(t, c.Close())
	}
	require.NoError(t, s.Close(t.Context()))
}
