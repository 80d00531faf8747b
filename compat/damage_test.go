package compat

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDamagedLog flips a bit of a message that was on disk when the broker was killed. After the start everything on both sides is
// served, the bad message by no way, and the log says in which file and where. Apache's broker ends its log there.
func TestDamagedLog(t *testing.T) {
	if needTarget(t) != Apogee {
		t.Skip("Apache's broker drops all that follows")
	}
	tg := onOwn(t, DamagedStore(), WithConf("flushIntervalCommitLog", "20"), WithConf("flushIntervalConsumeQueue", "20"))
	topic := newTopic(t, tg, 1)
	c := connect(t, tg.Broker())
	const n, bad = 60, 25
	for i := range n {
		put(t, c, topic, 0, fmt.Sprintf("message %d", i), props("KEYS", fmt.Sprint("key", i)))
	}
	all := readTopic(t, tg, topic, 1, n)
	eventually(t, stopTimeout, func() error { return vouchedFor(tg, all[n-1].StoreMs) })
	tg.KillBroker(t)

	path := filepath.Join(tg.StorePath(), "commitlog", fmt.Sprintf("%020d", 0))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	at := all[bad].PhysOffset + int64(strings.Index(string(b[all[bad].PhysOffset:]), "message"))
	b[at] ^= 1
	require.NoError(t, os.WriteFile(path, b, 0o644))
	require.NoError(t, os.RemoveAll(filepath.Join(tg.StorePath(), "index")))

	tg.StartBroker(t)
	c = connect(t, tg.Broker())
	now := readTopic(t, tg, topic, 1, n-1)
	require.Equal(t, append(append([]record(nil), all[:bad]...), all[bad+1:]...), now)
	res := c.must(t, codeViewMessageByID, ext("offset", all[bad].PhysOffset), nil)
	require.NotEqual(t, 0, res.Code)
	res = c.must(t, codeQueryMessage, queryFields(topic, fmt.Sprint("key", bad)), nil)
	require.NotEqual(t, 0, res.Code)
	queryFound(t, c, queryFields(topic, fmt.Sprint("key", bad+1)), 1)
	require.EqualValues(t, n, put(t, c, topic, 0, "one more", ""))
	logged := tg.logs()
	require.Contains(t, logged, "commit log is damaged")
	require.Contains(t, logged, fmt.Sprintf("path=%s pos=%d", path, all[bad].PhysOffset))
}

// vouchedFor says why the checkpoint does not vouch for messages up to a store time, in log and queues.
func vouchedFor(tg *Target, storeMs int64) error {
	b, err := os.ReadFile(filepath.Join(tg.StorePath(), "checkpoint"))
	if err != nil {
		return err
	}
	for i := range 2 {
		if ms := int64(binary.BigEndian.Uint64(b[8*i:])); ms < storeMs {
			return fmt.Errorf("checkpoint is at %v, want %v", time.UnixMilli(ms), time.UnixMilli(storeMs))
		}
	}
	return nil
}
