package store

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// mappingFlags returns the flags of the process's mappings of a file, those of /proc/self/smaps.
func mappingFlags(t *testing.T, path string) (flags [][]string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	require.NoError(t, err)
	mine := false
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, " ")
		switch {
		case !strings.HasSuffix(name, ":"): // a mapping begins
			mine = strings.HasSuffix(strings.TrimSpace(rest), path)
		case mine && name == "VmFlags:":
			flags = append(flags, strings.Fields(rest))
		}
	}
	require.NotEmpty(t, flags, "no mapping of %s", path)
	return flags
}

// TestFullSegmentsAreReadOnce looks at what the kernel was told: pages of full segments, those found at a start, too, do not count as
// busy for being read.
func TestFullSegmentsAreReadOnce(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.SegmentBytes = 64 << 10
	s := openTestStore(t, o)
	check := func() {
		t.Helper()
		list := s.log.all()
		require.Greater(t, len(list), 2)
		for _, seg := range list[:len(list)-1] {
			for _, flags := range mappingFlags(t, seg.path) {
				require.Contains(t, flags, "sr", seg.path)
			}
		}
	}
	putNumbered(t, s, "T", 1500, 50)
	check()
	require.NoError(t, s.Close())
	s = openTestStore(t, o)
	check()
}
