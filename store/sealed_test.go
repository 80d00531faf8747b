package store

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// sealedFile is one of our own files with what a test writes to it.
type sealedFile struct {
	name  string
	value any          // what is written, as JSON
	write func() error // it
	read  func() any   // what is there, none when it is missing or damaged
	none  any
}

func sealedFiles(t *testing.T, dir string) []sealedFile {
	d, e := &deletions{}, &queueEnds{}
	require.NoError(t, d.load(dir, 0, nil, discardLogger()))
	require.NoError(t, e.load(dir, nil, discardLogger()))
	marks := map[string]int64{"TopicA": 1234567, "TopicB": 99}
	ends := map[string]map[int32]int64{"TopicA": {0: 12, 7: 345}, "crc": {1: 1}}
	o := Options{Dir: dir, Logger: discardLogger()}
	doubts := &compactionDoubts{}
	require.NoError(t, doubts.load(&o))
	txn := &Txn{store: &Store{opts: o}, path: filepath.Join(dir, ownDir, "txn.json")}
	txn.opts.Logger = discardLogger()
	list := queueList{End: 123456789, Stamp: 17, LastAt: 123456000, Queues: map[string]map[int32]int64{"T": {0: 12, 3: 400}},
		Files: map[string]map[int32]listedQueue{"T": {0: {240, 9000, 0, 6000000, 1}}}, IndexEnd: 5, Indexed: 123456789}
	plan := swapPlan{Files: []int64{0, 4096}, Before: 8192, Position: 77}
	planPath := filepath.Join(dir, ownDir, swapPlanName)
	own := newJSONFile(filepath.Join(dir, ownDir, "timer.json"), TableOptions{Logger: discardLogger()})
	timer := timerFile{PrecisionMs: 1000, Marks: []timerMark{{1, 2, 3, 4}, {5000, 600, 70, 8}}, Clean: true, WheelSum: 9}
	return []sealedFile{
		{"deleted.json", marks, func() error { d.marks = marks; return d.saveLocked() }, func() any {
			require.NoError(t, d.load(dir, 0, nil, discardLogger()))
			return d.marks
		}, map[string]int64{}},
		{"ends.json", ends, func() error { e.ends = ends; return e.saveLocked() }, func() any {
			require.NoError(t, e.load(dir, nil, discardLogger()))
			return e.ends
		}, map[string]map[int32]int64{}},
		{"copying.json", marks, func() error { doubts.from, doubts.changed = marks, true; return doubts.save() }, func() any {
			doubts.unknown = false
			require.NoError(t, doubts.load(&o))
			require.Equal(t, len(doubts.from) == 0, doubts.unknown, "what is damaged vouches for nothing")
			return doubts.from
		}, map[string]int64{}},
		{"txn.json", txnFile{ScanFrom: 1234567}, func() error { txn.saveScan(1234567); return nil }, func() any {
			from, _ := txn.loadScan()
			return txnFile{ScanFrom: from}
		}, txnFile{}},
		{"queues.json", list, func() error { return list.write(dir, nil) }, func() any {
			l, err := readQueueList(dir)
			require.NoError(t, err)
			return l
		}, queueList{}},
		{swapPlanName, plan, func() error { return plan.write(planPath, nil) }, func() any {
			p, err := readSwapPlan(planPath)
			if err != nil {
				require.ErrorIs(t, err, ErrCorrupt)
				require.ErrorContains(t, err, planPath)
			}
			return p
		}, swapPlan{}},
		{"timer.json", timer, func() error { return (&Timer{own: own}).saveOwn(&timer) },
			func() any { return readTimerFile(own.path) }, timerFile{}},
	}
}

// Whatever happens to one byte of our own files, what is read is what was written or nothing; files of former versions, which have no
// checksum, are read, too.
func TestSealedFiles(t *testing.T) {
	t.Parallel()
	dir := fastDir(t)
	for _, f := range sealedFiles(t, dir) {
		t.Run(f.name, func(t *testing.T) {
			require.NoError(t, f.write())
			require.Equal(t, f.value, f.read())
			path := filepath.Join(dir, ownDir, f.name)
			whole, err := os.ReadFile(path)
			require.NoError(t, err)
			for i := range whole {
				for bit := range 8 {
					b := append([]byte(nil), whole...)
					b[i] ^= 1 << bit
					require.NoError(t, os.WriteFile(path, b, 0o644))
					if got := f.read(); bit > 4 && i < sealBytes-1 { // a letter of the checksum may be a capital
						require.Contains(t, []any{f.value, f.none}, got, "%s", b)
					} else {
						require.Equal(t, f.none, got, "%s", b)
					}
				}
			}
			text, err := json.Marshal(f.value)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, text, 0o644))
			require.Equal(t, f.value, f.read())
		})
	}
}
