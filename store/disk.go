package store

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Disk is how full a file system is, in bytes: its size, what is free, and what of that this process may take.
type Disk struct {
	TotalBytes, FreeBytes, AvailableBytes int64
}

// DiskOf asks the file system that holds path.
func DiskOf(path string) (Disk, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return Disk{}, fmt.Errorf("ask how full the disk of %s is: %w", path, err)
	}
	block := int64(fs.Bsize)
	return Disk{TotalBytes: int64(fs.Blocks) * block, FreeBytes: int64(fs.Bfree) * block, AvailableBytes: int64(fs.Bavail) * block}, nil
}

// UsedRatio is the share in use, from 0 to 1 and rounded up to whole percents as df does; -1 for a disk without size.
// Apache: UtilAll.getDiskPartitionSpaceUsedPercent.
func (d Disk) UsedRatio() float64 {
	used := d.TotalBytes - d.FreeBytes
	whole := used + d.AvailableBytes
	if d.TotalBytes <= 0 || whole <= 0 {
		return -1
	}
	percent := used * 100 / whole
	if used*100%whole != 0 {
		percent++
	}
	return float64(percent) / 100
}
