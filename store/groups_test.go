package store

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func openTestGroups(t testing.TB, path string, opts GroupsOptions) *Groups {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "config", "subscriptionGroup.json")
	}
	g, err := OpenGroups(path, opts)
	require.NoError(t, err)
	return g
}

func TestGroupsTakeOverJavasFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(unpackFixture(t, fixtureClean, "config/subscriptionGroup.json"), "config", "subscriptionGroup.json")
	java, err := os.ReadFile(path)
	require.NoError(t, err)
	groups := openTestGroups(t, path, GroupsOptions{})
	require.Equal(t, 37, groups.Len())
	require.NoError(t, groups.Close())
	same, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(java), string(same))

	groups = openTestGroups(t, path, GroupsOptions{})
	groups.table.mu.Lock()
	groups.table.dirty = true
	groups.table.mu.Unlock()
	require.NoError(t, groups.Close())
	ours, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, sortedLines(string(java)), sortedLines(string(ours)))
}

func TestGroupsOfAFreshBroker(t *testing.T) {
	t.Parallel()
	groups := openTestGroups(t, "", GroupsOptions{})
	defer groups.Close()
	require.Equal(t, len(systemGroups), groups.Len())
	for _, name := range systemGroups {
		cfg, ok := groups.Get(name)
		require.True(t, ok, name)
		require.True(t, cfg.ConsumeBroadcastEnable)
		require.True(t, IsSystemGroup(name))
	}
	require.True(t, IsSystemGroup("CID_RMQ_SYS_anything"))
	require.True(t, IsSystemGroup("DEFAULT_CONSUMER"))
	require.False(t, IsSystemGroup("CG"))
}

func TestGroupsCreateThemselves(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "subscriptionGroup.json")
	groups := openTestGroups(t, path, GroupsOptions{AutoCreate: true})
	before := groups.DataVersion().Counter
	_, ok := groups.Get("G")
	require.False(t, ok)
	cfg, ok := groups.Find([]byte("G"))
	require.True(t, ok)
	require.Equal(t, newGroup("G"), cfg)
	again, ok := groups.GetBytes([]byte("G"))
	require.True(t, ok)
	require.Same(t, cfg, again)
	require.Equal(t, before+1, groups.DataVersion().Counter)
	for _, bad := range []string{"", " ", "a b", "a@b", strings.Repeat("x", 121)} {
		_, ok = groups.Find([]byte(bad))
		require.False(t, ok, bad)
	}
	groups.SetAutoCreate(false)
	_, ok = groups.Find([]byte("H"))
	require.False(t, ok)
	_, ok = groups.Find([]byte("CID_RMQ_SYS_x"))
	require.True(t, ok, "the broker's own always may")
	require.NoError(t, groups.Close())
	_, ok = groups.Find([]byte("I"))
	require.False(t, ok)

	reopened := openTestGroups(t, path, GroupsOptions{})
	defer reopened.Close()
	_, ok = reopened.Get("G")
	require.True(t, ok)
	require.Equal(t, groups.DataVersion(), reopened.DataVersion())
	require.Equal(t, groups.All(), reopened.All())
}

func TestGroupsPutAndDelete(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "subscriptionGroup.json")
	groups := openTestGroups(t, path, GroupsOptions{})
	cfg := codec.NewSubscriptionGroupConfig("G")
	cfg.RetryMaxTimes = 3
	require.NoError(t, groups.Put(cfg))
	cfg.RetryMaxTimes = 99
	got, ok := groups.Get("G")
	require.True(t, ok)
	require.Equal(t, int32(3), got.RetryMaxTimes, "what was given is not kept")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(text), `"retryMaxTimes":3`, "on disk before it is answered")

	bad := codec.NewSubscriptionGroupConfig("B")
	bad.Attributes = map[string]string{"+message.type": "FIFO"}
	require.EqualError(t, groups.PutAll([]*codec.SubscriptionGroupConfig{codec.NewSubscriptionGroupConfig("A"), bad}),
		"unsupported key: message.type")
	_, ok = groups.Get("A")
	require.False(t, ok)
	require.ErrorIs(t, groups.Put(codec.NewSubscriptionGroupConfig("../G")), ErrIllegal)

	require.NoError(t, groups.SetForbidden("G", "T", ForbiddenRead))
	found, err := groups.Delete("G")
	require.NoError(t, err)
	require.True(t, found)
	require.Zero(t, groups.Forbidden([]byte("G"), []byte("T")))
	found, err = groups.Delete("G")
	require.NoError(t, err)
	require.False(t, found)
	require.NoError(t, groups.Close())
	require.ErrorIs(t, groups.Put(cfg), ErrClosed)
}

func TestGroupsForbidden(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "subscriptionGroup.json")
	groups := openTestGroups(t, path, GroupsOptions{})
	require.NoError(t, groups.SetForbidden("G", "T", ForbiddenRead))
	require.NoError(t, groups.SetForbidden("G", "U", ForbiddenRead))
	require.NoError(t, groups.SetForbidden("H", "T", ForbiddenRead))
	require.Equal(t, ForbiddenRead, groups.Forbidden([]byte("G"), []byte("T")))
	require.Zero(t, groups.Forbidden([]byte("G"), []byte("V")))
	require.NoError(t, groups.SetForbidden("G", "T", 0))
	require.NoError(t, groups.SetForbidden("H", "T", 0))
	require.NoError(t, groups.Close())

	groups = openTestGroups(t, path, GroupsOptions{})
	defer groups.Close()
	require.Equal(t, map[string]map[string]int32{"G": {"U": ForbiddenRead}}, groups.Snapshot().ForbiddenTable)
	require.ErrorIs(t, groups.SetForbidden("", "T", 4), ErrIllegal)
}

func TestGroupsReportAFailedWrite(t *testing.T) {
	t.Parallel()
	broken := make(chan struct{})
	groups := openTestGroups(t, "", GroupsOptions{AutoCreate: true, TableOptions: TableOptions{
		Faults: func(op FileOp, _ string) error {
			select {
			case <-broken:
				if op == OpRename {
					return syscall.EIO
				}
			default:
			}
			return nil
		}}})
	require.NoError(t, groups.Put(codec.NewSubscriptionGroupConfig("G")))
	close(broken)
	require.ErrorIs(t, groups.Put(codec.NewSubscriptionGroupConfig("H")), syscall.EIO)
	_, ok := groups.Get("H")
	require.False(t, ok)
	_, ok = groups.Find([]byte("I"))
	require.True(t, ok, "what nobody waits for is there at once")
	require.Error(t, groups.Close())
}

func TestGroupsTogether(t *testing.T) {
	t.Parallel()
	groups := openTestGroups(t, "", GroupsOptions{AutoCreate: true})
	var wg sync.WaitGroup
	names := strings.Split("abcdefghijklmnop", "")
	for range 4 {
		wg.Go(func() {
			for _, name := range names {
				if cfg, ok := groups.Find([]byte(name)); !ok || cfg.GroupName != name {
					t.Errorf("group %s is not there", name)
				}
				groups.Forbidden([]byte(name), []byte("T"))
			}
		})
	}
	wg.Go(func() {
		for _, name := range names[:4] {
			if err := groups.SetForbidden(name, "T", ForbiddenRead); err != nil {
				t.Error(err)
			}
			groups.Snapshot()
		}
	})
	wg.Wait()
	require.Equal(t, len(systemGroups)+len(names), groups.Len())
	require.NoError(t, groups.Close())
}

func TestGroupLookupsDoNotAllocate(t *testing.T) {
	groups := openTestGroups(t, "", GroupsOptions{AutoCreate: true})
	defer groups.Close()
	require.NoError(t, groups.SetForbidden("other", "T", ForbiddenRead))
	name, topic := []byte("TOOLS_CONSUMER"), []byte("T")
	require.Zero(t, leastAllocs(1000, func() {
		if _, ok := groups.Find(name); !ok {
			t.Fatal("not found")
		}
		groups.Forbidden(name, topic)
	}))
}
