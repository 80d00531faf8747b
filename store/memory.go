package store

import (
	"math"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// RAM is the memory in bytes that this process may use: the machine's, or less in a container, whose limit counts the page cache
// too. Where neither can be found out it is 1 GiB.
func RAM() int64 {
	least := uint64(math.MaxInt64)
	for _, from := range []memlimit.Provider{memlimit.FromSystem, memlimit.FromCgroup} {
		if n, err := from(); err == nil { // ErrNoLimit and its like say that this one sets no bound
			least = min(least, n)
		}
	}
	if least == math.MaxInt64 {
		return 1 << 30
	}
	return int64(least)
}

// hotBytesOfRAM is Java's accessMessageInMemoryMaxRatio of what there is.
func hotBytesOfRAM() int64 { return RAM() / 100 * 40 }
