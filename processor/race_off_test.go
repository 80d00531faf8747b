//go:build !race

package processor

const raceOn = false
