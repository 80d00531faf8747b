package admin

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// decided lets the queues that have just moved begin at an offset, as Apache's classes were told to when the golden file was printed.
func (m mapping) decided(offset int64) {
	for _, h := range m {
		for _, items := range h.detail.HostedQueues {
			if last := &items[len(items)-1]; last.LogicOffset < 0 {
				last.LogicOffset = offset
			}
		}
	}
}

// rows are a mapping as testdata/statictopic.tsv has it, which Apache's TopicQueueMappingUtils of 5.5.0 wrote.
func (m mapping) rows(t *testing.T, step string, in, out []string) (all []string) {
	for _, broker := range sortedKeys(m) {
		c, d := m[broker].config, *m[broker].detail
		d.Epoch = 0
		text, err := codec.MarshalJSON(&d)
		require.NoError(t, err)
		all = append(all, fmt.Sprintf("%s\t%s\t%d\t%d\t%d\t%s", step, broker, c.ReadQueueNums, c.WriteQueueNums, c.Perm, text))
	}
	list := func(names []string) string { return "[" + strings.Join(names, ", ") + "]" }
	return append(all, fmt.Sprintf("%s\tin\t%s\tout\t%s", step, list(in), list(out)))
}

func TestMappingsAreApaches(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("testdata/statictopic.tsv")
	require.NoError(t, err)
	var rows, ends []string
	for line := range strings.Lines(string(file)) {
		if line = strings.TrimSuffix(line, "\n"); strings.HasPrefix(line, "round\t") {
			ends = append(ends, line)
		} else {
			rows = append(rows, line)
		}
	}
	m := mapping{}
	require.NoError(t, m.grow("T", 4, []string{"a"}, 5))
	got := m.rows(t, "create4 a", nil, nil)
	require.NoError(t, m.grow("T", 8, []string{"a", "b"}, 7000))
	got = append(got, m.rows(t, "grow8 a,b", nil, nil)...)
	for _, step := range []struct {
		targets []string
		begin   int64
	}{{[]string{"b"}, 10000}, {[]string{"a", "c"}, 20000}} {
		in, out, err := m.move("T", step.targets, 0)
		require.NoError(t, err)
		got = append(got, m.rows(t, "remap "+strings.Join(step.targets, ","), in, out)...)
		m.decided(step.begin)
	}
	require.Equal(t, rows, got)
	epoch, queues, err := m.version("T")
	require.NoError(t, err)
	require.EqualValues(t, 9000, epoch, "every change is newer, whatever the clock says")
	require.EqualValues(t, 8, queues)
	require.Len(t, ends, 8)
	for _, line := range ends {
		cells := strings.Split(line, "\t")
		end, err := strconv.ParseInt(cells[1], 10, 64)
		require.NoError(t, err)
		require.Equal(t, cells[2], fmt.Sprint(beginOf(codec.LogicQueueMappingItem{}, end)))
	}
}

func TestQueuesMoveNoMoreThanNeeded(t *testing.T) {
	t.Parallel()
	m := mapping{}
	require.NoError(t, m.grow("T", 1000, []string{"a", "b", "c"}, 1))
	for _, targets := range [][]string{{"a", "b", "c", "d"}, {"d"}, {"a", "d"}, {"a", "b", "c"}} {
		before, err := m.leaders()
		require.NoError(t, err)
		in, out, err := m.move("T", targets, 1)
		require.NoError(t, err)
		m.decided(int64(m["a"].detail.Epoch) * 100000)
		after, err := m.check("T")
		require.NoError(t, err)
		led, moved := map[string]int{}, 0
		for id, q := range after {
			led[q.broker]++
			if before[id].broker != q.broker {
				moved++
			}
		}
		kept := 0
		had := map[string]int{}
		for _, q := range before {
			had[q.broker]++
		}
		for _, broker := range targets {
			require.InDelta(t, 1000/len(targets), led[broker], 1)
			kept += min(had[broker], led[broker])
		}
		require.Equal(t, 1000-kept, moved)
		for _, broker := range in {
			require.NotContains(t, out, broker)
		}
	}
}

func TestBadMappingsAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		says  string
		spoil func(m mapping)
	}{
		{"broker a has a topic T that is not static", func(m mapping) { m["a"].detail = nil }},
		{"it is dirty", func(m mapping) { m["a"].detail.Dirty = true }},
		{"it is for broker z", func(m mapping) { m["b"].detail.Bname = "z" }},
		{"its epoch 9 is not 1000, that of broker a", func(m mapping) { m["b"].detail.Epoch = 9 }},
		{"its 5 queues are not 4", func(m mapping) { m["b"].detail.TotalQueues = 5 }},
		{"it is of topic U", func(m mapping) { m["b"].detail.Topic = "U" }},
		{"has 4 queues, and brokers lead 3 of them", func(m mapping) { delete(m["a"].detail.HostedQueues, sortedKeys(m["a"].detail.HostedQueues)[0]) }},
		{"which has 1", func(m mapping) { m["a"].config.WriteQueueNums = 1 }},
		{"3 queues to read and 4 to write", func(m mapping) { m["a"].config.ReadQueueNums, m["a"].config.WriteQueueNums = 3, 4 }},
		{"share queue 0 of broker a", func(m mapping) {
			for _, items := range m["a"].detail.HostedQueues {
				items[0].QueueID = 0
			}
		}},
		{"which has nothing of the topic", func(m mapping) {
			for _, items := range m["a"].detail.HostedQueues {
				items[0].Bname = "z"
			}
		}},
		{"it has no stretches", func(m mapping) { m["a"].detail.HostedQueues[sortedKeys(m["a"].detail.HostedQueues)[0]] = nil }},
	} {
		m := mapping{}
		require.NoError(t, m.grow("T", 4, []string{"a", "b"}, 1))
		c.spoil(m)
		require.ErrorContains(t, m.grow("T", 8, []string{"a", "b"}, 1), c.says)
		_, _, err := m.move("T", []string{"b"}, 1)
		require.ErrorContains(t, err, c.says)
	}
	m := mapping{}
	require.NoError(t, m.grow("T", 4, []string{"a"}, 1))
	require.ErrorContains(t, m.grow("T", 4, []string{"a"}, 1), "has 4 queues already")
	require.ErrorContains(t, m.grow("T", 3, []string{"a"}, 1), "cannot have fewer")
	items := []codec.LogicQueueMappingItem{newStretch(0, 0, "a", 0), newStretch(1, 0, "b", 100)}
	require.NoError(t, checkStretches(items))
	items[0].EndOffset = 100
	require.ErrorContains(t, checkStretches(items), "into the next one, which begins at 100")
	slices.Reverse(items)
	require.ErrorContains(t, checkStretches(items), "has generation 1, the next one 0")
}
