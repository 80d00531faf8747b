package store

import (
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// hotBytesOfRAM is 40 % of the memory this process may use, Java's accessMessageInMemoryMaxRatio: the machine's, or less
// in a container, whose limit counts the page cache too.
func hotBytesOfRAM() int64 {
	total := int64(1 << 30)
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err == nil {
		total = int64(min(uint64(info.Totalram)*uint64(info.Unit), math.MaxInt64))
	}
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && limit > 0 { // "max": none
			total = min(total, limit)
		}
	}
	return total / 100 * 40
}
