//go:build !linux

package bench

// processUsage reads nothing: only Linux has /proc.
func processUsage(int) *usage { return nil }
