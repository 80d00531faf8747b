package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func sqlSub(topic, expression string, version int64) codec.SubscriptionData {
	return codec.SubscriptionData{Topic: topic, SubString: expression, ExpressionType: codec.ExpressionSQL92, SubVersion: version}
}

// filterClock is a table in a temporary folder with a clock that only the test moves.
type filterClock struct {
	*Filters
	t    *testing.T
	path string
	now  time.Time
}

func openFilters(t *testing.T) *filterClock {
	t.Helper()
	c := &filterClock{t: t, path: filepath.Join(t.TempDir(), "config", "consumerFilter.json"), now: time.UnixMilli(1_795_226_800_000)}
	c.reopen()
	return c
}

func (c *filterClock) reopen() {
	c.t.Helper()
	var err error
	c.Filters, err = OpenFilters(c.path, FiltersOptions{TableOptions: TableOptions{Now: func() time.Time { return c.now }}})
	require.NoError(c.t, err)
}

func (c *filterClock) get(group, topic string) *FilterData {
	return c.Get([]byte(group), []byte(topic))
}

// TestFiltersOfApache reads and writes the file of Apache's broker; registering anew what stands in it gives the same bits.
func TestFiltersOfApache(t *testing.T) {
	t.Parallel()
	path := filepath.Join(unpackFixture(t, fixtureClean, "config/consumerFilter.json"), "config", "consumerFilter.json")
	apache, err := os.ReadFile(path)
	require.NoError(t, err)
	now := time.UnixMilli(1795226800000)
	opts := FiltersOptions{TableOptions: TableOptions{Now: func() time.Time { return now }}}
	table, err := OpenFilters(path, opts)
	require.NoError(t, err)

	sql := table.Get([]byte("CG_sql"), []byte("FxSql"))
	require.Equal(t, "(TAGS is not null and TAGS in ('TagA','TagB')) and a between 1 and 4 and region = 'hangzhou'", sql.Expression)
	require.True(t, sql.SQL.Match(sqlBenchProps()))
	require.NoError(t, table.Close())
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(apache), string(written))

	fresh := NewFilters(opts)
	for _, want := range []*FilterData{sql, table.Get([]byte("CG_gosql"), []byte("FxGo"))} {
		fresh.Register(want.Group, []codec.SubscriptionData{sqlSub(want.Topic, want.Expression, 1)})
		require.Equal(t, want.Bloom, fresh.Get([]byte(want.Group), []byte(want.Topic)).Bloom)
	}
}

func TestFiltersFollowHeartbeats(t *testing.T) {
	t.Parallel()
	f := openFilters(t)
	beat := func(subs ...codec.SubscriptionData) { f.Register("G", subs) }
	beat(codec.SubscriptionData{Topic: "Tag", SubString: "a", ExpressionType: codec.ExpressionTag}, sqlSub("T", "", 1))
	require.Nil(t, f.get("G", "Tag"))
	require.Nil(t, f.get("G", "T"))

	beat(sqlSub("T", "a = ", 1))
	require.Nil(t, f.get("G", "T"), "does not compile")
	beat(codec.SubscriptionData{Topic: "T", SubString: "a = 1", ExpressionType: "OTHER", SubVersion: 1})
	require.Nil(t, f.get("G", "T"), "unknown type")

	beat(sqlSub("T", "a = 1", 5))
	first := f.get("G", "T")
	require.Equal(t, int64(5), first.ClientVersion)
	beat(sqlSub("T", "a = 2", 5))
	require.Same(t, first, f.get("G", "T"), "no newer version")
	beat(sqlSub("T", "a = 2", 4))
	require.Same(t, first, f.get("G", "T"), "older version")
	f.now = f.now.Add(time.Second)
	beat(sqlSub("T", "a = 1", 6))
	require.Equal(t, int64(6), f.get("G", "T").ClientVersion)
	require.Equal(t, first.BornMs, f.get("G", "T").BornMs, "nothing but the version is new")
	require.Same(t, first.SQL, f.get("G", "T").SQL)
	beat(sqlSub("T", "a = 2", 7))
	require.Equal(t, "a = 2", f.get("G", "T").Expression)
	require.Equal(t, f.now.UnixMilli(), f.get("G", "T").BornMs)
	beat(sqlSub("T", "a = =", 8))
	require.Nil(t, f.get("G", "T"), "the client must hear that it is wrong")

	beat(sqlSub("T", "a = 1", 9), sqlSub("Other", "b = 1", 9))
	f.now = f.now.Add(time.Second)
	beat(sqlSub("T", "a = 1", 9))
	require.False(t, f.get("G", "T").isDead())
	require.True(t, f.get("G", "Other").isDead())
	require.Equal(t, f.now.UnixMilli(), f.get("G", "Other").DeadMs)
	f.Unregister("G")
	require.True(t, f.get("G", "T").isDead())
	f.Register("G", []codec.SubscriptionData{sqlSub("T", "a = 1", 9)})
	require.False(t, f.get("G", "T").isDead())
	f.Unregister("unknown")
}

func TestFiltersAreKeptForADay(t *testing.T) {
	t.Parallel()
	f := openFilters(t)
	f.Register("G", []codec.SubscriptionData{sqlSub("T", "a = 1", 1)})
	f.Register("Gone", []codec.SubscriptionData{sqlSub("T", "a > 1", 1)})
	f.Unregister("Gone")
	require.NoError(t, f.Persist())
	f.now = f.now.Add(24*time.Hour - time.Second)
	require.NoError(t, f.Persist())
	require.NotNil(t, f.get("Gone", "T"))
	f.now = f.now.Add(2 * time.Second)
	require.NoError(t, f.Persist())
	require.Nil(t, f.get("Gone", "T"))
	require.NotNil(t, f.get("G", "T"), "is there")

	f.reopen()
	require.Nil(t, f.get("Gone", "T"))
	g := f.get("G", "T")
	require.Equal(t, f.now.Add(-deadAtLoad).UnixMilli(), g.DeadMs, "all have gone when a broker starts")
	require.True(t, g.SQL.Match(codec.AppendProperty(nil, "a", "1")))
	f.now = f.now.Add(25 * time.Hour)
	require.NoError(t, f.Persist())
	text, err := os.ReadFile(f.path)
	require.NoError(t, err)
	require.Equal(t, "{\n\t\"filterDataByTopic\":{\n\t\t\n\t}\n}", string(text), "as Apache writes an empty table")
}

func TestFiltersTakeWhatIsBroken(t *testing.T) {
	t.Parallel()
	f := openFilters(t)
	putFile(t, f.path, `{"filterDataByTopic":{"T":{"groupFilterData":{"Bad":{"expression":"a =","expressionType":"SQL92","bornTime":5},
		"Null":null,"Old":{"expression":"a = 1","expressionType":"SQL92","later":[1]}},"topic":"T"},"N":null,"E":{}},"more":7}`)
	f.reopen()
	require.Nil(t, f.get("Bad", "T").SQL)
	require.Nil(t, f.get("Null", "T"))
	require.NotNil(t, f.get("Old", "T").SQL)
	f.Register("Old", []codec.SubscriptionData{sqlSub("T", "a = 1", 1)})
	require.False(t, f.get("Old", "T").isDead())
	f.Register("Bad", []codec.SubscriptionData{sqlSub("T", "a =", 1)})
	require.Nil(t, f.get("Bad", "T"))
	require.NoError(t, f.Persist())
	text, err := os.ReadFile(f.path)
	require.NoError(t, err)
	require.Contains(t, string(text), `"later":[1]`)
	require.Contains(t, string(text), `"more":7`)
}

func TestFiltersAreBounded(t *testing.T) {
	t.Parallel()
	f := openFilters(t)
	long := "a = 1" + strings.Repeat(" ", MaxFilterExpressionBytes-5)
	const most = maxFilterText / MaxFilterExpressionBytes
	for i := range most + 5 {
		f.Register(fmt.Sprint("G", i), []codec.SubscriptionData{sqlSub("T", long, 1)})
	}
	require.Equal(t, most, f.count)
	require.Equal(t, maxFilterText, f.text)
	require.Nil(t, f.get(fmt.Sprint("G", most), "T"))
	f.Unregister("G0")
	f.Register("New", []codec.SubscriptionData{sqlSub("T", long, 1)})
	require.NotNil(t, f.get("New", "T"), "who has gone makes room")
	require.Nil(t, f.get("G0", "T"))
	f.Register("New", []codec.SubscriptionData{sqlSub("T", "a = 1", 2)})
	require.Equal(t, maxFilterText-MaxFilterExpressionBytes+5, f.text)
}

func TestFiltersPersistAfterAFailure(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "consumerFilter.json")
	fail := true
	faults := func(FileOp, string) error {
		if fail {
			return os.ErrPermission
		}
		return nil
	}
	f, err := OpenFilters(path, FiltersOptions{})
	require.NoError(t, err)
	f.file.faults = faults
	require.NoError(t, f.Persist(), "nothing to write")
	f.Register("G", []codec.SubscriptionData{sqlSub("T", "a = 1", 1)})
	require.ErrorIs(t, f.Persist(), os.ErrPermission)
	fail = false
	require.NoError(t, f.Persist())
	require.FileExists(t, path)
}

func TestFiltersFromManyGoroutines(t *testing.T) {
	t.Parallel()
	f := openFilters(t)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			group := fmt.Sprint("G", w%2)
			for i := range 200 {
				f.Register(group, []codec.SubscriptionData{sqlSub("T", fmt.Sprint("a = ", i), int64(i))})
				if data := f.get(group, "T"); data == nil || data.SQL == nil {
					t.Error("no filter")
				}
				if i%50 == 0 {
					f.Unregister(group)
					if err := f.Persist(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, 2, f.count)
}

func TestFiltersGetDoesNotAllocate(t *testing.T) {
	f := NewFilters(FiltersOptions{})
	f.Register("G", []codec.SubscriptionData{sqlSub("T", "a = 1", 1)})
	group, topic := []byte("G"), []byte("T")
	require.Zero(t, testing.AllocsPerRun(100, func() { f.Get(group, topic) }))
}
