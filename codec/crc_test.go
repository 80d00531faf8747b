package codec

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every length has its own last blocks, every place its own alignment.
func TestBodyCRCOfAnyLength(t *testing.T) {
	t.Parallel()
	b := make([]byte, 3000)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	for n := range len(b) - 32 {
		p := b[n%33:][:n]
		require.Equal(t, crc32.ChecksumIEEE(p)&0x7fffffff, BodyCRC(p), n)
	}
}

func FuzzBodyCRC(f *testing.F) {
	f.Add(make([]byte, 1024), uint16(0))
	f.Add([]byte("some text"), uint16(300))
	f.Fuzz(func(t *testing.T, b []byte, more uint16) {
		for len(b) > 0 && len(b) < int(more) {
			b = append(b, b...)
		}
		require.Equal(t, crc32.ChecksumIEEE(b)&0x7fffffff, BodyCRC(b))
	})
}

func BenchmarkBodyCRC(b *testing.B) {
	for _, size := range []int{200, 256, 512, 1024, 65536} {
		p := make([]byte, size)
		for name, sum := range map[string]func([]byte) uint32{"ours": BodyCRC, "hash": crc32.ChecksumIEEE} {
			b.Run(fmt.Sprintf("%dB/%s", size, name), func(b *testing.B) {
				b.SetBytes(int64(size))
				for range b.N {
					sum(p)
				}
			})
		}
	}
}
