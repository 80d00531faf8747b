package store

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPace has write-back begin behind a log that nobody flushes, by a ring and without.
func TestPace(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"ring", "system call"} {
		t.Run(by, func(t *testing.T) {
			o := testOptions(t)
			o.SegmentBytes = 8 * paceBytes
			o.FlushInterval = time.Hour
			s := openTestStore(t, o)
			if by != "ring" {
				s.pacer.ring.close()
				s.pacer.ring = nil
			}
			var r PutResult
			m := testMessage("T", 0, strings.Repeat("x", 20<<10))
			for s.Written() < 2*paceBytes {
				require.NoError(t, s.PutWait(m, &r))
			}
			require.Eventually(t, func() bool {
				s.pacer.tell(s.Written())
				return s.pacer.from() > s.Written()-paceBytes
			}, 10*time.Second, time.Millisecond)
		})
	}
}
