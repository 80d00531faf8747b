package compat

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// recoveryBytes is how much log BenchmarkRecovery writes; RECOVERY_BYTES says otherwise.
const recoveryBytes = 1 << 30

// BenchmarkRecovery starts a broker on the store that a killed broker left, as often as there are rounds: ours, with all
// derived files deleted ours again, and Apache's where java and mvn are installed. Each start gets the same bytes: a copy
// made before, whose pages are all in memory, or with RECOVERY_COLD=1 none. It measures the time from the start of the process
// to the first accepted send. `make bench-recovery` runs it on 10 GiB; a copy of the store is kept, so twice that must be free.
func BenchmarkRecovery(b *testing.B) {
	size := int64(recoveryBytes)
	if v := os.Getenv("RECOVERY_BYTES"); v != "" {
		var err error
		size, err = strconv.ParseInt(v, 10, 64)
		require.NoError(b, err)
	}
	e := newRecoveryEstate(b, size)
	b.Run("apogee", func(b *testing.B) { e.measure(b, e.ours, nil) })
	b.Run("apogee, all derived files deleted", func(b *testing.B) {
		e.measure(b, e.ours, []string{"consumequeue", "index", "checkpoint", "apogee"})
	})
	if JavaMissing() == nil {
		apache, err := newApacheLauncher()
		require.NoError(b, err)
		b.Run("apache", func(b *testing.B) { e.measure(b, apache, nil) })
	}
}

// recoveryEstate is a store that a killed broker left, and the copy that it is restored from.
type recoveryEstate struct {
	tg          *Target
	ours        launcher
	topic, kept string
}

const recoveryQueues = 8

func newRecoveryEstate(b *testing.B, size int64) *recoveryEstate {
	tg := Start(b, WithConf("mappedFileSizeCommitLog", strconv.Itoa(1<<30)), WithConf("mappedFileSizeConsumeQueue", "6000000"),
		WithConf("maxHashSlotNum", "5000000"), WithConf("maxIndexNum", "20000000"))
	if tg.Kind != Apogee {
		b.Skip("begins with our broker")
	}
	e := &recoveryEstate{tg: tg, ours: tg.launch, topic: newTopic(b, tg, recoveryQueues), kept: b.TempDir()}
	began := time.Now()
	e.fill(b, size)
	b.Logf("wrote %d MiB in %v", size>>20, time.Since(began).Round(time.Millisecond))
	tg.KillBroker(b)
	e.copy(b, tg.StorePath(), e.kept, func(string) bool { return true })
	return e
}

// fill sends batches of 32 messages of 1 KiB with a key each.
func (e *recoveryEstate) fill(b *testing.B, size int64) {
	const window, batch = 32, 32
	c := connect(b, e.tg.Broker())
	body := strings.Repeat("x", 1024)
	var waiting []<-chan *packet
	answered := func(left int) {
		for len(waiting) > left {
			res, err := c.await(waiting[0], time.Minute)
			require.NoError(b, err)
			require.Equal(b, 0, res.Code, res.Remark)
			waiting = waiting[1:]
		}
	}
	for n := int64(0); n*batch*1200 < size; n++ {
		entries := make([]batchEntry, batch)
		for i := range entries {
			entries[i] = batchEntry{body, props("UNIQ_KEY", fmt.Sprintf("C000020267114E0E2F2A675F%08X", n*batch+int64(i)), "TAGS", "TagA")}
		}
		ch, err := c.send(&packet{Code: codeSendBatch, Ext: with(shortened(sendFields(e.topic, int(n%recoveryQueues), "")), "m", true), Body: batchBody(entries...)})
		require.NoError(b, err)
		waiting = append(waiting, ch)
		answered(window)
	}
	answered(0)
}

// measure starts the broker of one kind on the bytes as they were.
func (e *recoveryEstate) measure(b *testing.B, l launcher, without []string) {
	e.tg.launch = l
	for range b.N {
		b.StopTimer()
		e.restore(b)
		for _, name := range without {
			require.NoError(b, os.RemoveAll(filepath.Join(e.tg.StorePath(), name)))
		}
		e.pages(b)
		b.StartTimer()
		require.NoError(b, e.tg.launchBroker())
		require.NoError(b, e.awaitSend())
		b.StopTimer()
		e.tg.KillBroker(b)
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/start")
	b.ReportMetric(0, "ns/op")
}

// awaitSend tries until a message is stored, every few milliseconds.
func (e *recoveryEstate) awaitSend() error {
	for limit := time.Now().Add(10 * time.Minute); ; {
		res, err := callOnce(e.tg.Broker(), codeSendMessage, sendFields(e.topic, 0, ""), []byte("first"))
		if err == nil && res.Code == 0 {
			return nil
		}
		if !e.tg.broker.running() {
			return fmt.Errorf("broker ended before it served: %w", e.tg.broker.exitErr())
		}
		if time.Now().After(limit) {
			return fmt.Errorf("no message stored in ten minutes: %w", err)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// restore brings the store back to what the killed broker left. Of the log only the last two segments may have changed.
func (e *recoveryEstate) restore(b *testing.B) {
	segments, err := filepath.Glob(filepath.Join(e.kept, "commitlog", "*"))
	require.NoError(b, err)
	sort.Strings(segments)
	changed := map[string]bool{}
	for _, path := range segments[max(len(segments)-2, 0):] {
		changed[filepath.Base(path)] = true
	}
	entries, err := os.ReadDir(e.tg.StorePath())
	require.NoError(b, err)
	for _, entry := range entries {
		if entry.Name() != "commitlog" {
			require.NoError(b, os.RemoveAll(filepath.Join(e.tg.StorePath(), entry.Name())))
		}
	}
	now, err := filepath.Glob(filepath.Join(e.tg.StorePath(), "commitlog", "*"))
	require.NoError(b, err)
	for _, path := range now {
		if name := filepath.Base(path); changed[name] || name > filepath.Base(segments[len(segments)-1]) {
			require.NoError(b, os.Remove(path))
		}
	}
	e.copy(b, e.kept, e.tg.StorePath(), func(name string) bool {
		return !strings.HasPrefix(name, "commitlog/") || changed[filepath.Base(name)]
	})
}

// copy copies files with their holes.
func (e *recoveryEstate) copy(b *testing.B, from, to string, wanted func(name string) bool) {
	require.NoError(b, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		if !wanted(filepath.ToSlash(name)) {
			return nil
		}
		out, err := exec.Command("cp", "-p", path, filepath.Join(to, name)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("copy %s: %w: %s", path, err, out)
		}
		return nil
	}))
}

// pages brings every page of the store into memory, or none; those of the copy are out of the way.
func (e *recoveryEstate) pages(b *testing.B) {
	cold := os.Getenv("RECOVERY_COLD") != ""
	for _, dir := range []string{e.kept, e.tg.StorePath()} {
		require.NoError(b, eachSynced(dir, func(f *os.File) error {
			if cold || dir == e.kept {
				return dropPages(f)
			}
			_, err := io.Copy(io.Discard, f)
			return err
		}))
	}
}

// eachSynced writes every file of a stopped store to the disk and then calls fn with it.
func eachSynced(dir string, fn func(f *os.File) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Sync(); err != nil {
			return err
		}
		return fn(f)
	})
}
