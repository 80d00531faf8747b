package store

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The files of apogee/ that the store reads when it opens are cut off, emptied, zeroed or lost, after clean stops and kills: each is
// done without, and all messages are served as before.
func TestOwnFilesDamaged(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"queues.json", "opened.json", "ends.json", "copying.json", "txn.json", "poporder"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, 6)
			rnd := rand.New(rand.NewPCG(9, 9))
			h.open()
			for i := range 8 {
				h.run(60)
				if i%2 == 0 {
					h.crash(func(string) {})
				} else {
					require.NoError(t, h.s.Close())
				}
				path := filepath.Join(h.o.Dir, ownDir, name)
				b, err := os.ReadFile(path)
				if err != nil || len(b) == 0 {
					b = []byte(`{"T":{"0":4}}`)
				}
				switch i / 2 {
				case 0:
					b = b[:rnd.IntN(len(b))]
				case 1:
					clear(b)
				case 2:
					b = nil
				default:
					b[rnd.IntN(len(b))] = 0xff
				}
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
				require.NoError(t, os.WriteFile(path, b, 0o644))
				h.open()
				h.check()
			}
			require.NoError(t, h.s.Close())
		})
	}
}
