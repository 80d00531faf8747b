package broker

import (
	"bytes"
	"cmp"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/store"
)

// loadText reads text as a broker.conf over the defaults and returns what was logged.
func loadText(t *testing.T, text string) (Config, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "broker.conf")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	var log bytes.Buffer
	cfg := DefaultConfig()
	err := cfg.Load(path, slog.New(slog.NewTextHandler(&log, nil)))
	return cfg, log.String(), err
}

func TestLoadTakesJavaKeys(t *testing.T) {
	t.Parallel()
	cfg, log, err := loadText(t, strings.Join([]string{
		"# as shipped", "brokerClusterName = DefaultCluster", "brokerName=broker-a", "brokerId=0", "deleteWhen=04", "fileReservedTime=48",
		"brokerRole=ASYNC_MASTER", "flushDiskType=SYNC_FLUSH", "listenPort=20911", "namesrvAddr=a:1;b:2",
		"mapedFileSizeCommitLog=1048576", "flushIntervalCommitLog=200", "autoCreateTopicEnable=false", "storePathRootDir=/data/store",
		"serverChannelMaxIdleTimeSeconds=60",
	}, "\n"))
	require.NoError(t, err)
	require.Empty(t, log)
	require.Equal(t, "broker-a", cfg.Name)
	require.Equal(t, 20911, cfg.ListenPort)
	require.Equal(t, "SYNC_FLUSH", cfg.FlushDiskType)
	require.Equal(t, int64(1<<20), cfg.SegmentBytes)
	require.Equal(t, 200*time.Millisecond, cfg.FlushInterval)
	require.Equal(t, time.Minute, cfg.MaxIdle)
	require.False(t, cfg.AutoCreateTopic)
	require.Equal(t, "/data/store", cfg.StoreRoot)
	require.NoError(t, cfg.validate())
}

func TestRetentionSettings(t *testing.T) {
	t.Parallel()
	cfg, log, err := loadText(t, strings.Join([]string{
		"deleteWhen=02;14", "fileReservedTime=48", "diskMaxUsedSpaceRatio=88", "diskSpaceCleanForciblyRatio=80", "diskSpaceWarningLevelRatio=86",
		"cleanFileForciblyEnable=false", "cleanResourceInterval=5000", "deleteFileBatchMax=3", "deleteCommitLogFilesInterval=0",
		"commitLogMaxBytes=1099511627776", "keepUnconsumedEnable=true",
	}, "\n"))
	require.NoError(t, err)
	require.Empty(t, log)
	require.Equal(t, store.Retention{
		ReservedTime: 48 * time.Hour, DeleteWhen: []int{2, 14}, MaxUsedRatio: 0.88, ForciblyRatio: 0.80, WarningRatio: 0.86,
		BatchMax: 3, MaxLogBytes: 1 << 40, KeepUnread: true,
	}, cfg.rules())
	require.Equal(t, 5*time.Second, cfg.CleanInterval)
	require.Equal(t, 48*time.Hour, processorSettings(cfg, netip.Addr{}).MessageRetention)
	cfg = DefaultConfig()
	require.Equal(t, store.DefaultRetention(), cfg.rules())
	_, _, err = loadText(t, "deleteWhen=midnight")
	require.ErrorContains(t, err, "deleteWhen=midnight: want hours of the day")
	for _, key := range []string{"fileReservedTime", "deleteWhen", "diskMaxUsedSpaceRatio", "commitLogMaxBytes", "keepUnconsumedEnable"} {
		require.NoError(t, mayUpdate(key), key)
	}
	require.ErrorContains(t, mayUpdate("cleanResourceInterval"), "at the start only")
}

func TestLoadWarnsOfUnknownKeys(t *testing.T) {
	t.Parallel()
	_, log, err := loadText(t, "brokerName=a\nbrokerNmae=b\n")
	require.NoError(t, err)
	require.Contains(t, log, "line=2")
	require.Contains(t, log, "key=brokerNmae")
}

func TestLoadNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, line, want string }{
		{"not a number", "listenPort=abc", `:2: listenPort=abc: want a whole number from 3 to 65535`},
		{"out of range", "listenPort=70000", `:2: listenPort=70000: want a whole number from 3 to 65535`},
		{"not a boolean", "autoCreateTopicEnable=yes please", `:2: autoCreateTopicEnable=yes please: want true or false`},
		{"not one of", "flushDiskType=MAYBE", `:2: flushDiskType=MAYBE: want one of [ASYNC_FLUSH SYNC_FLUSH]`},
		{"negative time", "flushIntervalCommitLog=-1", `:2: flushIntervalCommitLog=-1: want a number of milliseconds, not negative`},
		{"bad escape", `brokerName=\u00`, `invalid unicode literal`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := loadText(t, "# first line\n"+tc.line+"\n")
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestValidateRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"brokerId":              func(c *Config) { c.ID = 1 },
		"SLAVE":                 func(c *Config) { c.Role = "SLAVE" },
		"SYNC_MASTER":           func(c *Config) { c.Role = "SYNC_MASTER" },
		"enableControllerMode":  func(c *Config) { c.ControllerMode = true },
		"authenticationEnabled": func(c *Config) { c.Auth.Authorization = true },
		"authorizationProvider": func(c *Config) {
			c.Auth.Authentication, c.Auth.AuthorizationProvider = true, "com.example.OwnProvider"
		},
		"initAuthenticationUser":               func(c *Config) { c.Auth.Authentication, c.Auth.InitUser = true, "admin" },
		"innerClientAuthenticationCredentials": func(c *Config) { c.Auth.InnerCredentials = "{}" },
		"aclEnable":                            func(c *Config) { c.Auth.ACL, c.Auth.Home = true, "" },
		"storeType":                            func(c *Config) { c.StoreType = "defaultRocksDB" },
		"configManagerVersion":                 func(c *Config) { c.ConfigManager = "v2" },
		"rocksdbCQDoubleWrite":                 func(c *Config) { c.QueuesTwice = true },
		"timerRocksDBEnable":                   func(c *Config) { c.TimerRocksDB = true },
		"transRocksDBEnable":                   func(c *Config) { c.TransactionRocksDB = true },
		"enableDLegerCommitLog":                func(c *Config) { c.DLedgerCommitLog = true },
		"brokerName":                           func(c *Config) { c.Name = "" },
		"listenPort":                           func(c *Config) { c.ListenPort = 1 },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		require.ErrorContains(t, cfg.validate(), name)
	}
}

func TestTextIsReadBack(t *testing.T) {
	t.Parallel()
	want := DefaultConfig()
	want.Name, want.SegmentBytes, want.LongPolling = "broker-x", 1<<20, false
	got, log, err := loadText(t, want.Text())
	require.NoError(t, err)
	require.Empty(t, log)
	require.Equal(t, want.Text(), got.Text())
	tls, err := got.TLS.Options()
	require.NoError(t, err)
	wantTLS, err := want.TLS.Options()
	require.NoError(t, err)
	require.Equal(t, wantTLS, tls)
	got.File, got.kept, got.TLS = "", nil, want.TLS
	require.Equal(t, want.filled(), got)
}

func TestEveryJavaKeyIsShown(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	values := cfg.Values()
	for name, k := range javaKeys() {
		require.NoError(t, k.check(cmp.Or(k.value, map[string]string{"boolean": "true", "int": "1", "long": "1", "double": "1"}[k.kind])), name)
		require.Contains(t, whyNoEffect, k.reason, name)
		if k.shown {
			require.Contains(t, values, name)
		}
	}
	require.Equal(t, "104857600", values["maxHaTransferByteInSecond"])
	require.Equal(t, "10912", values["haListenPort"])
	require.NotContains(t, values, "mapedFileSizeCommitLog")
	require.NotContains(t, values, "tlsServerKeyPath")
	important := cfg.ImportantText()
	require.Contains(t, important, "autoCreateTopicEnable=true\n")
	require.NotContains(t, important, "defaultTopicQueueNums")
}

func TestJavaDefaultsAreOurs(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg = cfg.filled()
	for name, k := range javaKeys() {
		if key, ok := keyTable[name]; ok && k.value != "" {
			require.Equal(t, k.value, key.Get(&cfg), name)
		}
	}
}

func TestLoadKeepsWhatHasNoEffect(t *testing.T) {
	t.Parallel()
	cfg, log, err := loadText(t, "sendMessageThreadPoolNums=16\ntransientStorePoolEnable=true\nuseEpollNativeSelector=true\ntransientStorePoolSize=5\n")
	require.NoError(t, err)
	require.Contains(t, cfg.Text(), "\nsendMessageThreadPoolNums=16\n")
	require.Equal(t, 1, strings.Count(log, "no effect"), log)
	require.Contains(t, log, "transientStorePoolEnable")
	_, _, err = loadText(t, "sendMessageThreadPoolNums=many\n")
	require.ErrorContains(t, err, "sendMessageThreadPoolNums=many: want a whole number")
}
