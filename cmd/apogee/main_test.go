package main

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/store"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	conf := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	for _, tc := range []struct {
		name string
		args []string
		want int
	}{
		{"version", []string{"version"}, exitOK},
		{"unknown flag", []string{"server", "--nope"}, exitUsage},
		{"unknown command", []string{"sevrer"}, exitUsage},
		{"stray argument", []string{"server", "now"}, exitUsage},
		{"bad log level", []string{"server", "--log-level", "loud"}, exitUsage},
		{"missing option", []string{"admin", "sendMessage", "-t", "T"}, exitUsage},
		{"no such file", []string{"broker", "-c", filepath.Join(dir, "none.conf")}, exitStart},
		{"bad value", []string{"broker", "-c", conf("bad.conf", "listenPort=abc\n")}, exitStart},
		{"bad name server value", []string{"namesrv", "-c", conf("bad-ns.conf", "listenPort=abc\n")}, exitStart},
		{"not served yet", []string{"broker", "-c", conf("slave.conf", "brokerRole=SLAVE\nbrokerId=1\n")}, exitStart},
		{"port in use", []string{"server", "--data", dir, "--namesrv-port", port, "-c", conf("bind.conf", "bindAddress=127.0.0.1\n")}, exitStart},
		{"nobody there", []string{"admin", "sendMessage", "-n", "127.0.0.1:1", "-t", "T", "-p", "x"}, exitStart},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, run("apogee", tc.args))
		})
	}
}

func TestHints(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, withHint(fmt.Errorf("open: %w", store.ErrInUse)), "choose another folder")
	require.ErrorContains(t, withHint(&net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}), "choose another port")
	require.ErrorContains(t, withHint(&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.EACCES}), "this user may use")
	require.Equal(t, fs.ErrInvalid, withHint(fs.ErrInvalid))
}

func TestJoinNamesrvs(t *testing.T) {
	t.Parallel()
	require.Equal(t, "127.0.0.1:9876", joinNamesrvs("0.0.0.0", 9876, ""))
	require.Equal(t, "10.0.0.1:9876;b:2", joinNamesrvs("10.0.0.1", 9876, " b:2 ;10.0.0.1:9876"))
}
