package compat

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestJavaTransactions runs the transaction scenarios with a broker that asks soon.
func TestJavaTransactions(t *testing.T) {
	needJava(t)
	tg := onOwn(t, withQuickChecks("1000")...)
	for _, version := range javaVersions {
		t.Run(version, func(t *testing.T) {
			requireJava(t, tg, version, "--scenario",
				"transaction-decided,transaction-checked,transaction-listener-throws,transaction-other-producer,transaction-delayed")
		})
	}
}

// TestJavaTransactionProducerKilled kills a producer that has decided nothing. Another one of its group is asked instead, of the other
// client version; what it says counts, and it is not asked again about what it has decided.
func TestJavaTransactionProducerKilled(t *testing.T) {
	needJava(t)
	// What is decided is noted at this interval; Apache's broker asks again until then.
	tg := onOwn(t, append(withQuickChecks("1000"), WithConf("transactionOpBatchInterval", "100"))...)
	eachJavaPair(t, func(t *testing.T, firstVersion, secondVersion string) {
		topic, group := newTopic(t, tg, 2), unique("PG")
		first := startSteady(t, tg, firstVersion, "steady-undecided", topic, group)
		first.kill()
		require.Empty(t, first.strange)
		require.Empty(t, readTopic(t, tg, topic, 2, 0), "nobody has decided")

		second := startSteady(t, tg, secondVersion, "steady-decider", topic, group)
		var commits []string
		for key := range first.acked {
			if even(key) {
				commits = append(commits, key)
			}
		}
		slices.Sort(commits)
		second.await(t, "asked about everything", steadyLimit, func() bool { return len(second.gotIDs) == len(first.acked) })
		awaitCommittedKeys(t, tg, topic, commits)

		// When a later message has been asked about over and over, the ones before had their turns too.
		sendHalf(t, connect(t, tg.Broker()), topic, group, "unknown unknown unknown unknown commit", "KEYS", "late")
		awaitCommittedKeys(t, tg, topic, append(commits, "late"))
		second.finish(t)
		requireNotAskedAfter(t, second.got, "late", 3)
	})
}

// even says whether a key of steady-undecided is one to commit.
func even(key string) bool { return (key[len(key)-1]-'0')%2 == 0 }

// awaitCommittedKeys waits until the messages of a topic of two queues have just these keys. Apache's broker may commit a message twice
// when machines are slow.
func awaitCommittedKeys(t testing.TB, tg *Target, topic string, want []string) {
	t.Helper()
	c := connect(t, tg.Broker())
	var keys []string
	eventually(t, 60*time.Second, func() error {
		keys = keys[:0]
		for q := range 2 {
			some, err := readQueue(c, topic, q)
			if err != nil {
				return err
			}
			for _, r := range some {
				keys = append(keys, r.Props["KEYS"])
			}
		}
		slices.Sort(keys)
		keys = slices.Compact(keys)
		if !slices.Equal(want, keys) {
			return fmt.Errorf("committed are %v, not %v", keys, want)
		}
		return nil
	})
}

// requireNotAskedAfter says that from the n-th question about a key on there were questions about this key only.
func requireNotAskedAfter(t testing.TB, questions []delivery, key string, n int) {
	t.Helper()
	seen := 0
	for _, q := range questions {
		if q.id == key {
			seen++
		}
		if seen >= n {
			require.Equal(t, key, q.id, "asked about a decided message: %v", questions)
		}
	}
	require.GreaterOrEqual(t, seen, n)
}
