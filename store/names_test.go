package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Names answer as a map does; what one iterates over does not change meanwhile.
func TestNames(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	want := make(map[string]*int)
	for i := range 500 {
		want[fmt.Sprint("name", i)] = &i
	}
	var names Names[int]
	names.fill(want)
	for i := range 20_000 {
		name := fmt.Sprint("name", rnd.IntN(2000))
		n := NameOfBytes([]byte(name))
		names.Expect(n)
		names.Fetch(n, 8)
		require.Same(t, want[name], names.Get(n))
		if rnd.IntN(2) == 0 {
			want[name] = &i
			names.Set(name, &i)
		} else {
			delete(want, name)
			names.Set(name, nil)
		}
		require.Equal(t, len(want), names.Len())
	}
	require.Equal(t, want, maps.Collect(names.All()))
	for name := range names.All() {
		names.Set(name, nil)
	}
	require.Zero(t, names.Len())
}

// Names of one hash are told apart.
func TestNamesOfOneHash(t *testing.T) {
	t.Parallel()
	values := []int{0, 1, 2}
	s := newNameSlots[int](len(values))
	for i := range values {
		s.add(nameSlot[int]{7, &values[i], fmt.Sprint(i)})
	}
	var names Names[int]
	names.shards[7].Store(s)
	for i := range values {
		require.Same(t, &values[i], names.Get(Name{fmt.Sprint(i), 7}))
	}
	require.Nil(t, names.Get(Name{"3", 7}))
}
