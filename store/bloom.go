package store

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// BloomData is where a subscription stands in a Bloom filter, as Java keeps it beside its expression. Apache: BloomFilterData.
type BloomData struct {
	BitNum int32   `json:"bitNum"`
	BitPos []int32 `json:"bitPos"`
}

// bloomShape are the number of hashes and of bits of a Bloom filter.
type bloomShape struct{ hashes, bits int32 }

// newBloomShape returns the shape for a rate of errors in percent and a number of members. Apache: BloomFilter.createByFn.
func newBloomShape(errorPercent, members float64) bloomShape {
	rate := errorPercent / 100
	n := math.Ceil(members * math.Log(1/rate) / math.Log(2) * math.Log(math.E) / math.Log(2))
	return bloomShape{hashes: int32(math.Ceil(math.Log(rate) / math.Log(0.5))), bits: int32(8 * math.Ceil(n/8))}
}

// data returns the bits of a key. Apache: BloomFilter.calcBitPositions.
func (s bloomShape) data(key string) *BloomData {
	hash := murmur3([]byte(key))
	low, high := int32(hash), int32(hash>>32)
	d := &BloomData{BitNum: s.bits, BitPos: make([]int32, s.hashes)}
	for i := range d.BitPos {
		h := low + int32(i+1)*high
		if h < 0 {
			h = ^h
		}
		d.BitPos[i] = h % s.bits
	}
	return d
}

// Constants of murmur3, in files, do not change.
const (
	murmurC1 = 0x87c37b91114253d5
	murmurC2 = 0x4cf5ad432745937f
)

// murmur3 returns the first half of the 128-bit MurmurHash3 of b with seed 0, the variant for 64-bit machines.
func murmur3(b []byte) uint64 {
	var h1, h2 uint64
	size := uint64(len(b))
	for ; len(b) >= 16; b = b[16:] {
		h1 ^= murmurK1(binary.LittleEndian.Uint64(b))
		h1 = (bits.RotateLeft64(h1, 27)+h2)*5 + 0x52dce729
		h2 ^= murmurK2(binary.LittleEndian.Uint64(b[8:]))
		h2 = (bits.RotateLeft64(h2, 31)+h1)*5 + 0x38495ab5
	}
	var tail [16]byte
	copy(tail[:], b)
	h2 ^= murmurK2(binary.LittleEndian.Uint64(tail[8:]))
	h1 ^= murmurK1(binary.LittleEndian.Uint64(tail[:]))
	h1 ^= size
	h2 ^= size
	h1 += h2
	h2 += h1
	return murmurMix(h1) + murmurMix(h2)
}

func murmurK1(k uint64) uint64 { return bits.RotateLeft64(k*murmurC1, 31) * murmurC2 }

func murmurK2(k uint64) uint64 { return bits.RotateLeft64(k*murmurC2, 33) * murmurC1 }

func murmurMix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
