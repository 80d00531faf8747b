package store

import "golang.org/x/sys/unix"

// hotBytesOfRAM is 40 % of the machine's memory, Java's accessMessageInMemoryMaxRatio.
func hotBytesOfRAM() int64 {
	total, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 1 << 30
	}
	return int64(total / 100 * 40)
}
