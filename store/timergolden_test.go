package store

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// timerGolden is testdata/timer.json: what Apache RocketMQ 5.4.0's broker left at a clean stop.
type timerGolden struct {
	TimerLog     string
	TimerCheck   string
	TimerMetrics string
	Slots        []struct {
		Index int64
		Hex   string
	}
	Units []struct {
		Pos, PrevPos            int64
		Magic, SizePy           int32
		CurrWriteTime, OffsetPy int64
		DelayedTime, TopicHash  int32
	}
}

func loadTimerGolden(t testing.TB) (g timerGolden) {
	t.Helper()
	text, err := os.ReadFile("testdata/timer.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &g))
	return g
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	require.NoError(t, err)
	return b
}

func TestTimerGolden(t *testing.T) {
	t.Parallel()
	g := loadTimerGolden(t)
	log := unhex(t, g.TimerLog)
	var made []byte
	for i, u := range g.Units {
		r, ok := parseTimerRecord(log[i*timerRecordBytes:])
		require.True(t, ok)
		require.Equal(t, timerRecord{u.PrevPos, u.Magic, u.CurrWriteTime, u.DelayedTime, u.OffsetPy, u.SizePy, u.TopicHash}, r)
		require.EqualValues(t, i*timerRecordBytes, u.Pos)
		made = appendTimerRecord(made, &r)
	}
	require.Equal(t, log, made)

	require.NotEmpty(t, g.Slots)
	for _, slot := range g.Slots {
		b := unhex(t, slot.Hex)
		s := timerSlotAt(b)
		require.Equal(t, slot.Index, s.unit%(2*timerSlots))
		require.Equal(t, b, appendTimerSlot(nil, &s))
		last, ok := parseTimerRecord(log[s.last:])
		require.True(t, ok)
		require.Equal(t, s.unit, last.atMs()/1000)
	}

	b := unhex(t, g.TimerCheck)
	check, ok := parseTimerCheck(b)
	require.True(t, ok)
	require.Equal(t, timerCheck{1795228712000, 1404, 27, 27, codec.DataVersion{TimestampMs: 1795228712952, Counter: 1211}}, check)
	require.Equal(t, b, appendTimerCheck(nil, &check))

	var metrics codec.TimerMetrics
	require.NoError(t, codec.UnmarshalJSON([]byte(g.TimerMetrics), &metrics))
	require.EqualValues(t, 3, metrics.TimingCount["FxTimer"].Count)
	text, err := codec.MarshalJSON(&metrics)
	require.NoError(t, err)
	require.JSONEq(t, g.TimerMetrics, string(text))
}

func FuzzTimerRecord(f *testing.F) {
	log := unhex(f, loadTimerGolden(f).TimerLog)
	for ; len(log) > 0; log = log[timerRecordBytes:] {
		f.Add(log[:timerRecordBytes])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := parseTimerRecord(b)
		if !ok {
			return
		}
		again, ok := parseTimerRecord(appendTimerRecord(nil, &r))
		require.True(t, ok)
		require.Equal(t, r, again)
	})
}

func FuzzTimerCheck(f *testing.F) {
	f.Add(unhex(f, loadTimerGolden(f).TimerCheck))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok := parseTimerCheck(b)
		if !ok {
			return
		}
		again, ok := parseTimerCheck(appendTimerCheck(nil, &c))
		require.True(t, ok)
		require.Equal(t, c, again)
	})
}
