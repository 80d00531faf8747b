package compat

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// echoEnv has the test program be a bare echo.
const echoEnv = "APOGEE_BENCH_ECHO"

// echo says its address on stdout, and gives each message of its one connection back, one write each.
func echo() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	conn, err := l.Accept()
	if err != nil {
		os.Exit(1)
	}
	var one [benchBody]byte
	for {
		if _, err := io.ReadFull(conn, one[:]); err != nil {
			return
		}
		if _, err := conn.Write(one[:]); err != nil {
			return
		}
	}
}

// measureEcho sends messages at the pace of the wake cells to an echo on the server's core. What the waking of a parked request takes
// beyond this is the server's; the rest is the machine, its host and this client.
func measureEcho(b *testing.B) {
	cmd := exec.Command(os.Args[0])
	if path, err := exec.LookPath("taskset"); err == nil {
		cmd = exec.Command(path, "-c", "0", os.Args[0])
	}
	cmd.Env = append(os.Environ(), echoEnv+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	var addr string
	_, err = fmt.Fscanln(out, &addr)
	require.NoError(b, err)
	conn, err := net.Dial("tcp", addr)
	require.NoError(b, err)
	var ms []float64
	read := make(chan struct{})
	go func() {
		defer close(read)
		var one [benchBody]byte
		for {
			if _, err := io.ReadFull(conn, one[:]); err != nil {
				return
			}
			ms = append(ms, float64(time.Now().UnixNano()-int64(binary.BigEndian.Uint64(one[:])))/1e6)
		}
	}()
	var body [benchBody]byte
	sent := 0
	require.NoError(b, paced(conn, benchSeconds(), func(dst []byte, now time.Time, due int) []byte {
		binary.BigEndian.PutUint64(body[:], uint64(now.UnixNano()))
		for ; sent < due; sent++ {
			dst = append(dst, body[:]...)
		}
		return dst
	}))
	require.NoError(b, conn.(*net.TCPConn).CloseWrite())
	<-read
	require.NoError(b, conn.Close())
	require.NoError(b, cmd.Wait())
	require.Len(b, ms, sent)
	b.ReportMetric(0, "ns/op")
	reportLatencies(b, ms)
}
