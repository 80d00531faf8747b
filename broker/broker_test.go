package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// testConfig is a broker on loopback with free ports and its files in dir.
func testConfig(t *testing.T, dir string) Config {
	t.Helper()
	cfg := DefaultConfig()
	cfg.BindAddress, cfg.IP1, cfg.Name, cfg.StoreRoot, cfg.NamesrvAddrs = "127.0.0.1", "127.0.0.1", "broker-t", dir, ""
	cfg.SegmentBytes, cfg.IndexSlots, cfg.IndexEntries = 1<<20, 1000, 4000
	cfg.ListenPort = freePortPair(t)
	return cfg
}

// freePortPair finds a port that is free together with the VIP port below it.
func freePortPair(t *testing.T) int {
	t.Helper()
	for range 100 {
		main, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		port := main.Addr().(*net.TCPAddr).Port
		vip, err := net.Listen("tcp", hostPort("127.0.0.1", port-vipBelow))
		require.NoError(t, main.Close())
		if err == nil {
			require.NoError(t, vip.Close())
			return port
		}
	}
	require.FailNow(t, "no pair of free ports")
	return 0
}

func openBroker(t *testing.T, cfg Config) *Broker {
	t.Helper()
	b, err := Open(cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
	require.NoError(t, err)
	return b
}

func closeBroker(t *testing.T, b *Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(t, b.Close(ctx))
}

func send(t *testing.T, b *Broker, topic, body string) *codec.Command {
	t.Helper()
	return sendProperties(t, b, topic, body, "")
}

func sendProperties(t *testing.T, b *Broker, topic, body, properties string) *codec.Command {
	t.Helper()
	client := remoting.NewClient(remoting.DefaultClientOptions())
	defer client.Close()
	answer, err := client.Call(context.Background(), b.Addr.String(), &codec.Command{
		Code: codec.SendMessageV2, Language: codec.LanguageGo, Version: codec.Version, Body: []byte(body),
		Extra: []codec.Field{{Key: "a", Value: "g"}, {Key: "b", Value: topic}, {Key: "c", Value: "TBW102"}, {Key: "d", Value: "4"},
			{Key: "e", Value: "0"}, {Key: "f", Value: "0"}, {Key: "g", Value: strconv.FormatInt(time.Now().UnixMilli(), 10)}, {Key: "h", Value: "0"}, {Key: "i", Value: properties}},
	})
	require.NoError(t, err)
	return answer
}

func TestRestartKeepsMessagesAndTopics(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, t.TempDir())
	for want := range int64(3) {
		b := openBroker(t, cfg)
		require.Equal(t, want, b.store.MaxQueueOffset("Kept", 0))
		require.Equal(t, codec.Success, send(t, b, "Kept", "body").Code)
		closeBroker(t, b)
		require.NoFileExists(t, filepath.Join(cfg.StoreRoot, "abort"))
	}
}

func TestStoreInUseIsRefused(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, t.TempDir())
	b := openBroker(t, cfg)
	defer closeBroker(t, b)
	second := cfg
	second.ListenPort = freePortPair(t)
	_, err := Open(second, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, cfg.StoreRoot)
	require.Equal(t, codec.Success, send(t, b, "Kept", "body").Code, "the first broker goes on")
}

func TestPortInUseNamesThePort(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, t.TempDir())
	taken, err := net.Listen("tcp", hostPort("127.0.0.1", cfg.ListenPort))
	require.NoError(t, err)
	defer taken.Close()
	_, err = Open(cfg, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, hostPort("127.0.0.1", cfg.ListenPort))
	require.NoError(t, taken.Close())
	closeBroker(t, openBroker(t, cfg)) // what was opened before the port is closed again
}

func TestUpdateConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "broker.conf")
	require.NoError(t, os.WriteFile(path, []byte("# kept\nautoCreateTopicEnable=true\nbrokerName=broker-t\n"), 0o644))
	cfg := testConfig(t, filepath.Join(dir, "store"))
	cfg.File = path
	b := openBroker(t, cfg)
	defer closeBroker(t, b)

	require.NoError(t, b.updateConfig([]byte("autoCreateTopicEnable=false\nmaxMessageSize=100\n")))
	require.Equal(t, codec.TopicNotExist, send(t, b, "New", "body").Code)
	text, _ := b.readConfig()
	require.Contains(t, string(text), "maxMessageSize=100\n")
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "# kept\nautoCreateTopicEnable=false\nbrokerName=broker-t\nmaxMessageSize=100\n", string(written))

	require.NoError(t, b.updateConfig([]byte("sendMessageThreadPoolNums=16\n")), "no effect, and read back")
	text, _ = b.readConfig()
	require.Contains(t, string(text), "\nsendMessageThreadPoolNums=16\n")
	written, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(written), "\nsendMessageThreadPoolNums=16\n")

	startOnly := " takes effect at the start only: set it in broker.conf and start the broker again"
	for change, says := range map[string]string{
		"flushDiskType=SYNC_FLUSH": "flushDiskType" + startOnly, "storePathRootDir=/tmp/elsewhere": "storePathRootDir" + startOnly,
		"listenPort=1": "listenPort" + startOnly, "brokerConfigPath=elsewhere": codec.ErrBlackList.Remark,
		"logLevel=loud": "logLevel=loud: want one of [debug info warn error]", "maxMessageSize=big": "maxMessageSize=big: want a whole number from 1 to 2147483647",
		"fileReservedTime=72.5": "fileReservedTime=72.5: want a number of hours, not negative",
	} {
		var refusal *codec.Refusal
		if err := b.updateConfig([]byte(change)); errors.As(err, &refusal) {
			require.Equal(t, says, refusal.Remark)
		} else {
			require.EqualError(t, err, says, change)
		}
	}
	for name, bad := range map[string]string{
		"no number":           "sendMessageThreadPoolNums=many",
		"a path without use":  "storePathEpochFile=/tmp/elsewhere",
		"a command":           "messageStorePlugIn=com.example.Evil",
		"a path":              "storePathRootDir=/tmp/elsewhere",
		"the home folder":     "rocketmqHome=/tmp/elsewhere",
		"a start-only key":    "listenPort=1234",
		"a line in a value":   `maxMessageSize=100\nstorePathRootDir=/tmp/elsewhere`,
		"good and bad in one": "maxMessageSize=200\nbrokerName=other",
	} {
		require.Error(t, b.updateConfig([]byte(bad)), name)
	}
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(written), string(after))
}

func TestForceRegisterFalseAsksFirst(t *testing.T) {
	t.Parallel()
	ns := openFakeNamesrv(t, "127.0.0.1:0")
	cfg := testConfig(t, t.TempDir())
	cfg.NamesrvAddrs, cfg.RegisterPeriod, cfg.ForceRegister = ns.addr, time.Millisecond, false
	b := openBroker(t, cfg)
	defer closeBroker(t, b)
	require.Eventually(t, func() bool { return (<-ns.heard).code == codec.QueryDataVersion }, registerPatience, time.Millisecond)
}
