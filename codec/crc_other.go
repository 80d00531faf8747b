//go:build !amd64

package codec

import "hash/crc32"

func checksum(p []byte) uint32 { return crc32.ChecksumIEEE(p) }
