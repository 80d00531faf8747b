package store

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// diskFillDir tells the child process of TestDiskFills where to mount its disk.
const diskFillDir = "STORE_DISK_FILL_DIR"

// A file system of 5 MiB that is filled and freed by retention, ten times. It is mounted in a name space of its own, by a child
// process.
func TestDiskFills(t *testing.T) {
	if dir := os.Getenv(diskFillDir); dir != "" {
		if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal("keep the disk to ourselves:", err)
		}
		if err := syscall.Mount("none", dir, "tmpfs", 0, "size=5m"); err != nil {
			t.Fatal("mount the disk:", err)
		}
		fillSmallDisk(t, dir)
		return
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^TestDiskFills$", "-test.v")
	cmd.Env = append(os.Environ(), diskFillDir+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
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
	require.Contains(t, string(out), "--- PASS: TestDiskFills")
}

func fillSmallDisk(t *testing.T, dir string) {
	d := &diskFill{t: t, o: diskFillOptions(t, dir)}
	filled := 0.0
	d.free = func() {
		disk, err := DiskOf(dir)
		require.NoError(t, err)
		filled = max(filled, disk.UsedRatio())
		retainNow(t, d.s)
	}
	d.run(func() {})
	require.Greater(t, filled, 0.97, "it was really full")
}
