package compat

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// diskFullDir tells the child process of TestDiskFull where to mount its disk.
const diskFullDir = "COMPAT_DISK_FULL_DIR"

// TestDiskFull fills the disk under a running broker three times. It is a file system of 40 MiB, mounted in a name space of its own by
// a child process.
func TestDiskFull(t *testing.T) {
	if needTarget(t) != Apogee {
		t.Skip("Apache's broker is not run on so small a disk")
	}
	if dir := os.Getenv(diskFullDir); dir != "" {
		if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal("keep the disk to ourselves:", err)
		}
		if err := syscall.Mount("none", dir, "tmpfs", 0, "size=40m"); err != nil {
			t.Fatal("mount the disk:", err)
		}
		fillDisk(t, dir)
		return
	}
	bin, err := apogeeBinary()
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0], "-test.run=^TestDiskFull$", "-test.v")
	cmd.Env = append(os.Environ(), diskFullDir+"="+t.TempDir(), "APOGEE_BIN="+bin)
	cmd.SysProcAttr = childAttr()
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNS
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Skipf("no name space in which a disk can be mounted: %v", err)
	}
	if err != nil && bytes.Contains(out, []byte("mount the disk: operation not permitted")) {
		t.Skipf("no disk can be mounted: %s", out)
	}
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestDiskFull")
}

// leaveBytes puts a file on a disk that leaves so much of it.
func leaveBytes(t *testing.T, dir string, left int64) (path string) {
	t.Helper()
	var fs syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &fs))
	path = filepath.Join(dir, "filler")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, syscall.Fallocate(int(f.Fd()), 0, 0, int64(fs.Bavail)*fs.Bsize-left))
	return path
}

// fillDisk is the scenario, on a disk that nobody else writes to.
func fillDisk(t *testing.T, dir string) {
	tg, err := newTarget(Apogee, dir, WithConf("mappedFileSizeCommitLog", "1048576"), WithConf("maxHashSlotNum", "500"),
		WithConf("maxIndexNum", "20000"), WithConf("cleanFileForciblyEnable", "false"), WithConf("timerWheelEnable", "false"))
	require.NoError(t, err)
	tg.run(t)
	topic, group := newTopic(t, tg, 1), newGroup(t, tg)
	c := connect(t, tg.Broker())
	pad := strings.Repeat("p", 2000)
	var acknowledged []string
	send := func() *packet {
		body := fmt.Sprintf("%d %s", len(acknowledged), pad)
		res := c.must(t, codeSendMessage, sendFields(topic, 0, ""), []byte(body))
		if res.Code == resSuccess {
			acknowledged = append(acknowledged, body)
		}
		return res
	}
	for range 3 {
		filler := leaveBytes(t, dir, 6<<20)
		var res *packet
		for range 10_000 {
			if res = send(); res.Code != resSuccess {
				break
			}
		}
		require.Equal(t, resUnavailable, res.Code, res.Remark)
		require.Contains(t, res.Remark, "service not available now. It may be caused by one of the following reasons: the broker's disk is full [CL:")
		require.Equal(t, acknowledged, bodies(readTopic(t, tg, topic, 1, len(acknowledged))))
		c.ok(t, codeUpdateConsumerOffset, commitFields(group, topic, 0, int64(len(acknowledged))), nil)
		require.EqualValues(t, len(acknowledged), num(t, c.ok(t, codeQueryConsumerOffset, offsetFields(group, topic, 0), nil), "offset"))
		require.NoError(t, os.Remove(filler))
		eventually(t, time.Minute, func() error {
			if res := send(); res.Code != resSuccess {
				return fmt.Errorf("still refused: %s", res.Remark)
			}
			return nil
		})
	}
	tg.StopBroker(t)
	require.NoError(t, tg.CheckStore())
	tg.StartBroker(t)
	require.Equal(t, acknowledged, bodies(readTopic(t, tg, topic, 1, len(acknowledged))))
	c = connect(t, tg.Broker())
	require.Positive(t, num(t, c.ok(t, codeQueryConsumerOffset, offsetFields(group, topic, 0), nil), "offset"))
	require.EqualValues(t, len(acknowledged), put(t, c, topic, 0, "after", ""))
}
