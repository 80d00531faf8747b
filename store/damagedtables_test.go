package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDamagedMappingsAreReadFromTheirCopy: a table of static topics that is cut or changed is put aside, and its copy is read; without
// a good copy the broker does not begin, rather than serve physical queues as if they were whole ones.
func TestDamagedMappingsAreReadFromTheirCopy(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("testdata/topicQueueMapping.json")
	require.NoError(t, err)
	for name, damaged := range map[string][]byte{
		"half written": golden[:len(golden)/2], "zeros": make([]byte, len(golden)), "no JSON": []byte("topics: none"),
		"a list": []byte("[1,2]"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "topicQueueMapping.json")
			require.NoError(t, os.WriteFile(path, damaged, 0o644))
			_, err := OpenMappings(path, MappingsOptions{Broker: "compat-a"})
			require.ErrorContains(t, err, "topicQueueMapping.json")
			require.NoError(t, os.WriteFile(path, damaged, 0o644))
			require.NoError(t, os.WriteFile(path+".bak", golden, 0o644))
			m, err := OpenMappings(path, MappingsOptions{Broker: "compat-a"})
			require.NoError(t, err)
			require.Equal(t, 1, m.Len())
			require.NoError(t, m.Close())
		})
	}
}

// TestDamagedOrderInfo: what was in flight of ordered pops is read from the copy of its file.
func TestDamagedOrderInfo(t *testing.T) {
	t.Parallel()
	good := `{"orderedConsumptionLevel":"QUEUE","table":{"T@G":{0:{"popTime":1795225999000,"i":60000,"l":1795225999000,"o":[0,1],"cm":0}}}}`
	for name, damaged := range map[string]string{"half written": good[:len(good)/2], "zeros": "\x00\x00\x00", "a list": "[]", "no JSON": "x"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r := newPopRig(t, dir)
			for range 2 {
				m := Message{Topic: "T", Body: []byte("x"), BornHost: r.store.host.addr}
				require.NoError(t, r.store.PutWait(&m, new(PutResult)))
			}
			r.dispatched()
			path := filepath.Join(dir, "config", "consumerOrderInfo.json")
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(damaged), 0o644))
			require.NoError(t, os.WriteFile(path+".bak", []byte(good), 0o644))
			r.open()
			q := r.pop.Lock([]byte("T"), []byte("G"), 0)
			defer q.Unlock()
			require.True(t, q.OrderBlocked(nil, r.now.UnixMilli()), "the last delivery is known")
			require.False(t, q.OrderBlocked(nil, 1795226060000))
		})
	}
}
