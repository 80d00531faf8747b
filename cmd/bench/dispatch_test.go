package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLag(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		readings [][3]int64 // second, written, dispatched
		ms       float64
		bytes    int64
	}{
		{"one", [][3]int64{{0, 100, 100}}, 0, 0},
		{"never behind when asked", [][3]int64{{0, 100, 100}, {1, 200, 200}, {2, 300, 300}}, 1000, 0},
		{"a little behind", [][3]int64{{0, 100, 100}, {1, 200, 150}, {2, 300, 250}}, 2000, 50},
		{"stands still", [][3]int64{{0, 100, 100}, {1, 200, 100}, {2, 300, 100}, {3, 400, 100}}, 3000, 300},
		{"catches up", [][3]int64{{0, 100, 100}, {1, 200, 100}, {2, 300, 100}, {3, 400, 400}, {4, 500, 450}, {5, 600, 600}}, 3000, 200},
		{"ever slower", [][3]int64{{0, 0, 0}, {1, 100, 50}, {2, 200, 100}, {3, 300, 150}, {4, 400, 200}, {5, 500, 250}}, 3000, 250},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var l lagOf
			for _, r := range tt.readings {
				at := time.Unix(r[0], 0)
				l.add(reading{at, at, r[1], r[2]})
			}
			require.Equal(t, lag{tt.ms, tt.bytes, len(tt.readings)}, l.lag)
		})
	}
}
