package namesrv

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// restarted returns the routes as a name server that starts at now has them from its file.
func restarted(t *testing.T, r *routes, now time.Time) *routes {
	before, _ := r.snapshot()
	b, err := before.encode()
	require.NoError(t, err)
	read, err := decodeSnapshot(b)
	require.NoError(t, err)
	again := newTestRoutes()
	again.restore(read, now)
	return again
}

func TestStaleRoutesAreThoseOfBefore(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	r.mustRegister(t, testRegistration("a", 0, "h:1"), tableOf(version(1), "T", "U"), now)
	r.mustRegister(t, testRegistration("a", 1, "h:2"), tableOf(version(1), "T", "U"), now)
	static := tableOf(version(1), "T", "S")
	static.TopicConfigSerializeWrapper.TopicQueueMappingInfoMap = map[string]*codec.TopicQueueMappingInfo{"S": {Bname: "b", Topic: "S", TotalQueues: 4}}
	r.mustRegister(t, testRegistration("b", 0, "h:3"), static, now)
	r.changePerm("b", func(perm int32) int32 { return perm &^ codec.PermWrite })

	again := restarted(t, r, now)
	for _, topic := range []string{"T", "U", "S"} {
		require.Equal(t, r.mustRoute(t, topic), again.mustRoute(t, topic))
	}
	require.Equal(t, r.clusterInfo(""), again.clusterInfo(""))
	require.Equal(t, routeSizes{0, 3, 2, 1, 3}, again.sizes())
	_, known := again.touch("C", "h:1", now)
	require.False(t, known, "a stale broker has to register")
}

func TestStaleBrokersExpireWhateverTheySay(t *testing.T) {
	t.Parallel()
	r, clock := newTestRoutes(), newClock()
	r.mustRegister(t, testRegistration("a", 0, "h:1"), tableOf(version(1), "T", "U"), clock.now())
	clock.advance(time.Hour)
	again := restarted(t, r, clock.now())
	clock.advance(defaultHeartbeatTimeout)
	again.touch("C", "h:1", clock.now())
	require.Empty(t, again.expire(clock.now()))
	again.mustRoute(t, "T")
	clock.advance(time.Millisecond)
	require.Len(t, again.expire(clock.now()), 1)
	again.requireNoRoute(t, "T")
	require.Empty(t, again.leftovers)
}

// A broker that has lost a topic while the name server was away, and registers in parts, loses that one alone and no other for a moment.
func TestStaleBrokerRegisters(t *testing.T) {
	t.Parallel()
	r, clock := newTestRoutes(), newClock()
	reg := testRegistration("a", 0, "h:1")
	r.mustRegister(t, reg, tableOf(version(1), "T", "U", "V", "W", "Gone"), clock.now())
	again := restarted(t, r, clock.now())

	_, ok := again.refresh(reg, version(1), clock.now())
	require.False(t, ok, "the same version must be read again")
	_, outcome := again.register(reg, tableOf(version(2), "New"), clock.now())
	require.Equal(t, refused, outcome, "a single topic is not all of them")
	_, outcome = again.register(reg, tableOf(version(2), "T", "U"), clock.now())
	require.Equal(t, joined, outcome)
	require.Equal(t, 0, again.sizes().stale)
	again.mustRoute(t, "V")
	again.mustRegister(t, reg, tableOf(version(2), "V", "W"), clock.now())
	require.Empty(t, again.settle(clock.now()))
	clock.advance(settleAfter)
	require.Equal(t, []dropped{{"a", 1}}, again.settle(clock.now()))
	again.requireNoRoute(t, "Gone")
	for _, topic := range []string{"T", "U", "V", "W"} {
		again.mustRoute(t, topic)
	}
}

func TestStaleBrokerMoves(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	r.mustRegister(t, testRegistration("a", 0, "h:1"), tableOf(version(1), "T", "U"), now)
	again := restarted(t, r, now)
	again.mustRegister(t, testRegistration("a", 0, "h:9"), tableOf(version(1), "T", "U"), now)
	require.Equal(t, map[int64]string{0: "h:9"}, again.mustRoute(t, "T").BrokerDatas[0].BrokerAddrs)
	require.Equal(t, 0, again.sizes().stale)
}

// What Open finds is what was there when the one before ended, cleanly with its brokers connected or not at all.
func TestRoutesOutliveTheServer(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"closed", "killed"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := options(t)
			if opts.ScanInterval = time.Hour; name == "killed" {
				opts.ScanInterval = 10 * time.Millisecond
			}
			first, err := Open(opts)
			require.NoError(t, err)
			path := first.keeper.path
			first.routes.mustRegister(t, testRegistration("a", 0, "h:1"), tableOf(version(1), "T", "U"), time.Now())
			var left []byte
			if name == "killed" { // what lies there before Close can write anything
				require.Eventually(t, func() bool {
					s, err := readSnapshot(path)
					return err == nil && len(s.Topics) == 2
				}, waitAtMost, 5*time.Millisecond)
				left, err = os.ReadFile(path)
				require.NoError(t, err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), waitAtMost)
			defer cancel()
			require.NoError(t, first.Close(ctx))
			if name == "killed" {
				opts = options(t)
				path = filepath.Join(filepath.Dir(opts.KVConfigPath), "apogee", "routes-0.json")
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
				require.NoError(t, os.WriteFile(path, left, 0o600))
			}

			opts.NeedWaitForService = true
			second := open(t, opts)
			second.routes.mustRoute(t, "T")
			p := dial(t, second)
			require.Equal(t, int32(codec.Success), p.call(codec.GetRouteInfoByTopic, 401, map[string]string{"topic": "T"}, nil).Code)
			require.Equal(t, int32(codec.SystemError), p.call(codec.GetRouteInfoByTopic, 401, map[string]string{"topic": "X"}, nil).Code)
			require.Empty(t, second.ready())
		})
	}
}

// A broker that unregisters before the name server ends, or whose connection ends, is not there afterwards.
func TestUnregisteredBrokersDoNotComeBack(t *testing.T) {
	t.Parallel()
	r, now := newTestRoutes(), newClock().now()
	r.mustRegister(t, testRegistration("a", 0, "h:1"), tableOf(version(1), "T", "U"), now)
	r.mustRegister(t, testRegistration("b", 0, "h:2"), tableOf(version(1), "T", "V"), now)
	_, before := r.snapshot()
	r.unregister("C", "h:1", "a")
	_, after := r.snapshot()
	require.Greater(t, after, before, "the file has to be written again")
	again := restarted(t, r, now)
	again.requireNoRoute(t, "U")
	require.Equal(t, r.mustRoute(t, "T"), again.mustRoute(t, "T"))
	require.Equal(t, routeSizes{0, 1, 1, 1, 2}, again.sizes())
}

func TestDamagedRoutesArePassedOver(t *testing.T) {
	t.Parallel()
	r := newTestRoutes()
	r.mustRegister(t, testRegistration("a", 0, "h:1"), tableOf(version(1), "T", "U"), time.Now())
	before, _ := r.snapshot()
	good, err := before.encode()
	require.NoError(t, err)
	flipped := append([]byte(nil), good...)
	flipped[len(flipped)/2] ^= 1
	for name, b := range map[string][]byte{"empty": nil, "cut": good[:len(good)-3], "flipped": flipped, "foreign": []byte(`{"brokers":[]}`)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := options(t)
			path := filepath.Join(filepath.Dir(opts.KVConfigPath), "apogee", "routes-0.json")
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, b, 0o600))
			_, err := readSnapshot(path)
			require.ErrorIs(t, err, errSnapshotDamaged)
			open(t, opts).routes.requireNoRoute(t, "T")
		})
	}
}

func TestRoutesAreNotKeptWhenSwitchedOff(t *testing.T) {
	t.Parallel()
	opts := options(t)
	require.NoError(t, opts.Apply("test", []codec.Setting{{Key: "keepRoutesEnable", Value: "false"}}))
	path := filepath.Join(filepath.Dir(opts.KVConfigPath), "apogee", "routes-0.json")
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	open(t, opts)
	_, err := os.Stat(path)
	require.ErrorIs(t, err, os.ErrNotExist)
}
