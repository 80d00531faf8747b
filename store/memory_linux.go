package store

import "golang.org/x/sys/unix"

// hotBytesOfRAM is 40 % of the machine's memory, Java's accessMessageInMemoryMaxRatio.
func hotBytesOfRAM() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 1 << 30
	}
	return int64(uint64(info.Totalram) * uint64(info.Unit) / 100 * 40)
}
