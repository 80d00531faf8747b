package compat

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// orderQueues is how many queues the topics of ordered messages have; a key's queue is its number modulo this.
const orderQueues = 4

// taken is a message that a member of a group was given, in the order of the members' common clock.
type taken struct {
	member string
	id     string // key/number
	at     place
}

// order is what an ordered topic's consumption has to keep, whoever crashes: the messages of a key, and the offsets of a queue, are seen
// for the first time one after the other, none left out. A member that takes a queue over may repeat what had not been
// committed, but goes on from there without a gap.
type order struct {
	gaps    bool                      // offsets of a queue may leave some out
	numbers map[string]int            // by key, the highest number seen
	offsets map[int]int64             // by queue, the highest offset seen
	last    map[string]map[int]int64  // by member and queue, the last offset
	begins  map[int]int               // by queue, how often a member began somewhere
	seenAt  map[string]map[place]bool // by id
	queueOf map[string]map[int]bool   // by key
}

func newOrder() *order {
	return &order{numbers: map[string]int{}, offsets: map[int]int64{}, last: map[string]map[int]int64{}, begins: map[int]int{},
		seenAt: map[string]map[place]bool{}, queueOf: map[string]map[int]bool{}}
}

// next takes one more message and says what is wrong with it.
func (o *order) next(m taken) error {
	key, text, _ := strings.Cut(m.id, "/")
	number, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("a message that nobody sent: %+v", m)
	}
	if highest, seen := o.numbers[key]; !seen && number != 0 || seen && number > highest+1 {
		return fmt.Errorf("key %s: %d comes after %d: %+v", key, number, highest, m)
	}
	o.numbers[key] = max(o.numbers[key], number)
	q := m.at.queueID
	if highest, seen := o.offsets[q]; !o.gaps && (!seen && m.at.queueOffset != 0 || seen && m.at.queueOffset > highest+1) {
		return fmt.Errorf("queue %d: offset %d comes after %d: %+v", q, m.at.queueOffset, highest, m)
	}
	o.offsets[q] = max(o.offsets[q], m.at.queueOffset)
	if o.last[m.member] == nil {
		o.last[m.member] = map[int]int64{}
	}
	if last, seen := o.last[m.member][q]; !seen || m.at.queueOffset != last+1 {
		o.begins[q]++
	}
	o.last[m.member][q] = m.at.queueOffset
	if o.seenAt[m.id] == nil {
		o.seenAt[m.id] = map[place]bool{}
	}
	o.seenAt[m.id][m.at] = true
	if o.queueOf[key] == nil {
		o.queueOf[key] = map[int]bool{}
	}
	o.queueOf[key][q] = true
	return nil
}

// requireOrder is requireTakenInOrder, and no queue was begun more often than members came, left or lost their server.
func requireOrder(t testing.TB, all []taken, acked map[string]place, upheavals int) {
	t.Helper()
	o := requireTakenInOrder(t, all, acked)
	for q := range orderQueues {
		require.LessOrEqual(t, o.begins[q], 1+2*upheavals, "queue %d was begun again for no reason", q)
	}
}

// requireTakenInOrder checks all that was taken, and that each acknowledged message was, where its answer said.
func requireTakenInOrder(t testing.TB, all []taken, acked map[string]place) *order {
	t.Helper()
	return newOrder().requireAll(t, all, acked)
}

func (o *order) requireAll(t testing.TB, all []taken, acked map[string]place) *order {
	t.Helper()
	for _, m := range all {
		require.NoError(t, o.next(m))
	}
	for id, at := range acked {
		if at.queueOffset < 0 { // a static queue on the move
			continue
		}
		require.True(t, o.seenAt[id][at], "message %s was acknowledged at %v and taken at %v", id, at, slices.Collect(maps.Keys(o.seenAt[id])))
	}
	for key, queues := range o.queueOf {
		require.Len(t, queues, 1, "queues of key %s", key)
	}
	t.Logf("%d messages acknowledged, %d taken, queues begun %v", len(acked), len(all), o.begins)
	return o
}

// TestOrderIsChecked shows the checker what must not be.
func TestOrderIsChecked(t *testing.T) {
	at := func(member, id string, offset int64) taken { return taken{member, id, place{0, offset}} }
	for _, c := range []struct {
		name  string
		wrong string
		all   []taken
	}{
		{"in order", "", []taken{at("a", "k/0", 0), at("a", "x/0", 1), at("a", "k/1", 2)}},
		{"repeated by another member", "", []taken{at("a", "k/0", 0), at("a", "k/1", 1), at("b", "k/0", 0), at("b", "k/1", 1), at("b", "k/2", 2)}},
		{"stored twice", "", []taken{at("a", "k/0", 0), at("a", "k/0", 1), at("a", "k/1", 2)}},
		{"left out", "queue 0: offset 2 comes after 0", []taken{at("a", "k/0", 0), at("b", "k/1", 2)}},
		{"left out before it was stored", "key k: 2 comes after 0", []taken{at("a", "k/0", 0), at("a", "k/2", 1)}},
		{"the first left out", "key k: 1 comes after 0", []taken{at("a", "k/1", 0)}},
		{"overtaken", "key k: 2 comes after 0", []taken{at("a", "k/0", 0), at("b", "k/2", 2), at("a", "k/1", 1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrder()
			var err error
			for _, m := range c.all {
				if err = o.next(m); err != nil {
					break
				}
			}
			if c.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.wrong)
		})
	}
}
