package codec

import (
	"hash/crc32"

	"golang.org/x/sys/cpu"
)

// wideBytes is from where on folding pays. It takes 128 bytes at least.
const wideBytes = 256

// hasWide says that the processor multiplies without carry in registers of 256 bits.
var hasWide = cpu.X86.HasAVX2 && extendedFeatures()&(1<<10) != 0

// foldWide is the checksum of all whole blocks of sixteen bytes of p, of which there are eight at least. It takes twice the bytes of
// hash/crc32 at a time, which does so only with AVX-512. Source: Intel, Fast CRC Computation for Generic Polynomials.
//
//go:noescape
func foldWide(p []byte) (crc uint32)

// extendedFeatures is what CPUID says in ECX of leaf 7.
func extendedFeatures() (ecx uint32)

// checksum is crc32.ChecksumIEEE.
func checksum(p []byte) uint32 {
	if !hasWide || len(p) < wideBytes {
		return crc32.ChecksumIEEE(p)
	}
	crc := foldWide(p)
	if tail := p[len(p)&^15:]; len(tail) > 0 {
		crc = crc32.Update(crc, crc32.IEEETable, tail)
	}
	return crc
}
