package store

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func openTestOffsets(t testing.TB, path string, opts OffsetsOptions) *Offsets {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "consumerOffset.json")
	}
	o, err := OpenOffsets(path, opts)
	require.NoError(t, err)
	return o
}

func commit(t testing.TB, o *Offsets, group, topic string, queueID int32, queueOffset int64) {
	t.Helper()
	require.NoError(t, o.Commit([]byte(group), []byte(topic), queueID, queueOffset))
}

func requireOffset(t testing.TB, o *Offsets, group, topic string, queueID int32, want int64) {
	t.Helper()
	got, ok := o.Query([]byte(group), []byte(topic), queueID)
	require.True(t, ok)
	require.Equal(t, want, got)
}

// sortedLines makes two of Java's pretty files comparable whose maps stand in another order.
func sortedLines(text string) []string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSuffix(line, ",")
	}
	sort.Strings(lines)
	return lines
}

func TestOffsetsTakeOverJavasFile(t *testing.T) {
	t.Parallel()
	for _, name := range []string{fixtureClean, fixtureCrashed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(unpackFixture(t, name, "config/consumerOffset.json"), "config", "consumerOffset.json")
			java, err := os.ReadFile(path)
			require.NoError(t, err)
			o := openTestOffsets(t, path, OffsetsOptions{})
			require.NoError(t, o.Persist())
			same, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(java), string(same), "nothing changed, nothing written")

			o.dirty.Store(true)
			require.NoError(t, o.Persist())
			ours, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, sortedLines(string(java)), sortedLines(string(ours)))
			bak, err := os.ReadFile(path + bakSuffix)
			require.NoError(t, err)
			require.Equal(t, string(java), string(bak))
			if name == fixtureCrashed {
				return
			}
			requireOffset(t, o, "CG_live", "FxNormal", 2, 57)
			requireOffset(t, o, "CG_gopush", "%RETRY%CG_gopush", 0, -1)
			require.Equal(t, []string{"%RETRY%CG_live", "FxNormal"}, o.TopicsOf("CG_live"))
			require.Equal(t, []string{"CG_goorder", "CG_gopull", "CG_gopush", "CG_goretry", "CG_gosql"}, o.GroupsOf("FxGo"))
			require.Empty(t, o.GroupsOf("NoSuchTopic"))
			requireOffset(t, o, "CG_gobc@broadcast", "FxGo", 0, 4)
			o.DeleteGroup("CG_gobc")
			require.Nil(t, o.OfGroup("CG_gobc@broadcast", "FxGo"))
			require.Equal(t, int64(2), o.DataVersion().Counter)
		})
	}
}

func TestOffsetsCommitAndQuery(t *testing.T) {
	t.Parallel()
	o := openTestOffsets(t, "", OffsetsOptions{})
	_, ok := o.Query([]byte("G"), []byte("T"), 0)
	require.False(t, ok)
	commit(t, o, "G", "T", 0, 10)
	commit(t, o, "G", "T", 7, 0)
	requireOffset(t, o, "G", "T", 0, 10)
	requireOffset(t, o, "G", "T", 7, 0)
	commit(t, o, "G", "T", 0, 3)
	requireOffset(t, o, "G", "T", 0, 3)
	_, ok = o.Query([]byte("G"), []byte("T"), 1)
	require.False(t, ok)
	_, ok = o.Query([]byte("GT"), []byte(""), 0)
	require.False(t, ok)
	require.Equal(t, map[int32]int64{0: 3, 7: 0}, o.OfGroup("G", "T"))
	require.Nil(t, o.OfGroup("G", "U"))
}

func TestOffsetsPersistOnlyChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config", "consumerOffset.json")
	writes := 0
	opts := OffsetsOptions{TableOptions: TableOptions{Faults: func(op FileOp, _ string) error {
		if op == OpWrite {
			writes++
		}
		return nil
	}}}
	o := openTestOffsets(t, path, opts)
	require.NoError(t, o.Persist())
	require.Zero(t, writes)
	commit(t, o, "G", "T", 0, 5)
	require.NoError(t, o.Persist())
	require.NoError(t, o.Persist())
	require.Equal(t, 1, writes)
	o.CommitPull([]byte("G"), []byte("T"), 0, 9)
	require.NoError(t, o.Persist())
	require.Equal(t, 1, writes, "pull offsets are not kept")
	o.DeleteGroup("G")
	require.NoError(t, o.Close())
	require.Equal(t, 2, writes)
	require.Empty(t, openTestOffsets(t, path, OffsetsOptions{}).Snapshot().OffsetTable)
}

func TestOffsetsSurviveAFailedPersist(t *testing.T) {
	t.Parallel()
	for _, op := range []FileOp{OpCreate, OpWrite, OpFlush, OpRename} {
		path := filepath.Join(t.TempDir(), "consumerOffset.json")
		broken := false
		o := openTestOffsets(t, path, OffsetsOptions{TableOptions: TableOptions{Faults: func(at FileOp, _ string) error {
			if broken && at == op {
				return syscall.EIO
			}
			return nil
		}}})
		commit(t, o, "G", "T", 0, 1)
		require.NoError(t, o.Persist())
		commit(t, o, "G", "T", 0, 2)
		broken = true
		require.ErrorIs(t, o.Persist(), syscall.EIO, op)
		requireOffset(t, openTestOffsets(t, path, OffsetsOptions{}), "G", "T", 0, 1)
		broken = false
		require.NoError(t, o.Persist())
		requireOffset(t, openTestOffsets(t, path, OffsetsOptions{}), "G", "T", 0, 2)
	}
}

func TestOffsetsReset(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "consumerOffset.json")
	o := openTestOffsets(t, path, OffsetsOptions{})
	group, topic := []byte("G"), []byte("T")
	_, ok := o.TakeReset(group, topic, 0)
	require.False(t, ok)

	commit(t, o, "G", "T", 0, 100)
	commit(t, o, "G", "T", 1, 100)
	require.NoError(t, o.SetReset("G", "T", 0, 40))
	require.NoError(t, o.SetReset("G", "T", 0, 50), "a second one replaces it")
	require.NoError(t, o.SetReset("G", "New", 3, 7), "without an offset before")
	require.True(t, o.HasReset(group, topic, 0))
	require.False(t, o.HasReset(group, topic, 1))
	requireOffset(t, o, "G", "T", 0, 50)
	require.ErrorIs(t, o.Commit(group, topic, 0, 101), ErrOffsetReset)
	commit(t, o, "G", "T", 1, 101)
	requireOffset(t, o, "G", "T", 0, 50)

	require.NoError(t, o.Persist())
	again := openTestOffsets(t, path, OffsetsOptions{})
	requireOffset(t, again, "G", "T", 0, 50)
	require.False(t, again.HasReset(group, topic, 0), "what waits does not outlive a restart, its offset does")

	got, ok := o.TakeReset(group, topic, 0)
	require.True(t, ok)
	require.Equal(t, int64(50), got)
	_, ok = o.TakeReset(group, topic, 0)
	require.False(t, ok, "once")
	commit(t, o, "G", "T", 0, 51)
	requireOffset(t, o, "G", "T", 0, 51)

	o.DeleteGroup("G")
	require.False(t, o.HasReset(group, []byte("New"), 3))
	require.Zero(t, o.resets.Load())
	for _, bad := range []error{o.SetReset("", "T", 0, 1), o.SetReset("G", "", 0, 1), o.SetReset("G", "T", -1, 1), o.SetReset("G", "T", 0, -1)} {
		require.ErrorIs(t, bad, ErrIllegal)
	}
}

func TestOffsetsPull(t *testing.T) {
	t.Parallel()
	o := openTestOffsets(t, "", OffsetsOptions{})
	_, ok := o.QueryPull([]byte("G"), []byte("T"), 0)
	require.False(t, ok)
	commit(t, o, "G", "T", 0, 5)
	got, ok := o.QueryPull([]byte("G"), []byte("T"), 0)
	require.True(t, ok)
	require.Equal(t, int64(5), got)
	o.CommitPull([]byte("G"), []byte("T"), 0, 9)
	got, ok = o.QueryPull([]byte("G"), []byte("T"), 0)
	require.True(t, ok)
	require.Equal(t, int64(9), got)
	o.CommitPull([]byte("G"), []byte("U"), 0, 9)
	require.Equal(t, []string{"T"}, o.TopicsOf("G"), "pulling alone is not consuming")
	_, ok = o.Query([]byte("G"), []byte("U"), 0)
	require.False(t, ok)
}

func TestOffsetsCloneAndDelete(t *testing.T) {
	t.Parallel()
	o := openTestOffsets(t, "", OffsetsOptions{})
	for q := range int32(3) {
		commit(t, o, "A", "T", q, int64(q))
		commit(t, o, "A", "U", q, int64(q)+10)
	}
	commit(t, o, "B", "T", 9, 9)
	require.NoError(t, o.Clone("A", "B", "T"))
	require.Equal(t, map[int32]int64{0: 0, 1: 1, 2: 2}, o.OfGroup("B", "T"))
	require.NoError(t, o.Clone("Nobody", "B", "T"))
	require.Equal(t, map[int32]int64{0: 0, 1: 1, 2: 2}, o.OfGroup("B", "T"))
	require.Equal(t, []string{"A", "B"}, o.GroupsOf("T"))
	o.DeleteTopic("T")
	require.Empty(t, o.GroupsOf("T"))
	require.Equal(t, []string{"U"}, o.TopicsOf("A"))
	o.DeleteGroup("A")
	require.Empty(t, o.TopicsOf("A"))
	require.Zero(t, o.entries.Load())
}

func TestOffsetsAreBounded(t *testing.T) {
	t.Parallel()
	o := openTestOffsets(t, "", OffsetsOptions{MaxOffsets: 3})
	for q := range int32(3) {
		commit(t, o, "G", "T", q, 1)
	}
	require.ErrorIs(t, o.Commit([]byte("G"), []byte("T"), 3, 1), ErrTableFull)
	require.ErrorIs(t, o.SetReset("G", "T", 3, 1), ErrTableFull)
	o.CommitPull([]byte("G"), []byte("T"), 3, 1)
	require.Len(t, o.OfGroup("G", "T"), 3)
	commit(t, o, "G", "T", 2, 5)
	o.DeleteTopic("T")
	commit(t, o, "G", "T", 3, 1)
}

func TestOffsetsVersionMovesEvery500Commits(t *testing.T) {
	t.Parallel()
	o := openTestOffsets(t, "", OffsetsOptions{})
	before := o.DataVersion().Counter
	for i := range int64(1000) {
		commit(t, o, "G", "T", 0, i)
	}
	require.Equal(t, before+2, o.DataVersion().Counter)
}

func TestOffsetsKeepWhatTheyDoNotKnow(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "consumerOffset.json")
	putFile(t, path, `{"offsetTable":{"T@G":{0:5}},"later":{"a":[1,2]}}`)
	o := openTestOffsets(t, path, OffsetsOptions{})
	commit(t, o, "G", "T", 1, 6)
	require.NoError(t, o.Persist())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Regexp(t, regexp.MustCompile(`(?s)"T@G":\{\s+0:5,\s+1:6\s+\}.*"later"`), string(text))
}

func TestOffsetsTogether(t *testing.T) {
	t.Parallel()
	o := openTestOffsets(t, "", OffsetsOptions{})
	const topics, rounds = 8, 400
	var wg sync.WaitGroup
	for i := range topics {
		wg.Go(func() {
			group, topic := []byte("G"), fmt.Append(nil, "T", i)
			for n := range int64(rounds) {
				if err := o.Commit(group, topic, int32(n%4), n); err != nil {
					t.Error(err)
				}
				o.CommitPull(group, topic, int32(n%4), n+1)
				if got, ok := o.Query(group, topic, int32(n%4)); !ok || got != n {
					t.Errorf("committed %d, found %d", n, got)
				}
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			if err := o.Persist(); err != nil {
				t.Error(err)
			}
			o.TopicsOf("G")
			if err := o.SetReset("H", "T0", 0, 1); err != nil {
				t.Error(err)
			}
			o.TakeReset([]byte("H"), []byte("T0"), 0)
			o.DeleteGroup("H")
		}
	})
	wg.Wait()
	require.Len(t, o.TopicsOf("G"), topics)
}

func TestOffsetsSteadyStateDoesNotAllocate(t *testing.T) {
	o := openTestOffsets(t, "", OffsetsOptions{})
	group, topic := []byte("please_rename_unique_group_name"), []byte("TopicTest")
	commit(t, o, string(group), string(topic), 3, 1)
	var n int64
	require.Zero(t, leastAllocs(1000, func() {
		n++
		if o.Commit(group, topic, 3, n) != nil {
			t.Fatal("not committed")
		}
		o.CommitPull(group, topic, 3, n)
		if _, ok := o.Query(group, topic, 3); !ok {
			t.Fatal("not found")
		}
		o.TakeReset(group, topic, 3)
	}))
}

func BenchmarkOffsetsCommit(b *testing.B) {
	o := openTestOffsets(b, "", OffsetsOptions{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		group, topic := []byte("please_rename_unique_group_name"), []byte("TopicTest")
		for n := int64(0); pb.Next(); n++ {
			if err := o.Commit(group, topic, int32(n&7), n); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOffsetsPersist(b *testing.B) {
	o := openTestOffsets(b, "", OffsetsOptions{})
	for i := range 10_000 {
		for q := range int32(8) {
			commit(b, o, fmt.Sprint("group-", i%100), fmt.Sprint("topic-", i/100), q, int64(i))
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		o.dirty.Store(true)
		if err := o.Persist(); err != nil {
			b.Fatal(err)
		}
	}
}
