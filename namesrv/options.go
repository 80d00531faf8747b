package namesrv

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// Options say where a name server listens and how it behaves. The zero value is unusable; begin with DefaultOptions.
// Apache: NamesrvConfig, NettyServerConfig.
type Options struct {
	// BindAddress and ListenPort are what is listened on. The defaults are 0.0.0.0 and 9876; port 0 is a free one.
	BindAddress string
	ListenPort  int
	// KVConfigPath is the file of the key-value configuration, ConfigStorePath the one that a change of settings at run time
	// is written to. The defaults are kvConfig.json and namesrv.properties in namesrv/ of the home folder.
	KVConfigPath    string
	ConfigStorePath string
	// IdleTimeout closes connections without traffic. The default is 120 s.
	IdleTimeout time.Duration

	Settings

	// Logger gets what the server has to say. The default discards it.
	Logger *slog.Logger
	// Now is the clock. The default is time.Now.
	Now func() time.Time

	// kept holds the values of Java's keys that mean nothing here, to be shown and written back.
	kept map[string]string
}

// Settings are the options that may change at run time.
type Settings struct {
	// ScanInterval is the time between two looks for brokers whose heartbeats have stopped. The default is 5 s.
	ScanInterval time.Duration
	// OrderMessageEnable puts a topic's entry of ORDER_TOPIC_CONFIG into its route. The default is false.
	OrderMessageEnable bool
	// ReturnOrderTopicConfigToBroker answers a registration with all of ORDER_TOPIC_CONFIG. The default is true.
	ReturnOrderTopicConfigToBroker bool
	// SupportActingMaster shows the slave with the smallest id as the master while there is none. The default is false.
	SupportActingMaster bool
	// EnableAllTopicList and EnableTopicList allow the questions for lists of topics. The defaults are true.
	EnableAllTopicList bool
	EnableTopicList    bool
	// NeedWaitForService refuses routes for WaitForService after the start. The defaults are false and 45 s.
	NeedWaitForService bool
	WaitForService     time.Duration
	// DeleteTopicWithBrokerRegistration takes topics away that a broker's registration no longer holds. The default is false.
	DeleteTopicWithBrokerRegistration bool
	// ConfigBlackList names further keys, separated by ";", that no request may change.
	ConfigBlackList string
}

// DefaultOptions returns Apache's defaults.
func DefaultOptions() Options {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "."
	}
	o := Options{
		BindAddress: "0.0.0.0", ListenPort: 9876,
		KVConfigPath:    filepath.Join(home, "namesrv", "kvConfig.json"),
		ConfigStorePath: filepath.Join(home, "namesrv", "namesrv.properties"),
		IdleTimeout:     120 * time.Second,
		Settings: Settings{ScanInterval: 5 * time.Second, ReturnOrderTopicConfigToBroker: true, EnableAllTopicList: true,
			EnableTopicList: true, WaitForService: 45 * time.Second, ConfigBlackList: "configBlackList;configStorePath;kvConfigPath"},
		Logger: slog.New(slog.DiscardHandler), Now: time.Now, kept: maps.Clone(javaKeys),
	}
	o.kept["rocketmqHome"] = os.Getenv("ROCKETMQ_HOME")
	return o
}

// javaKeys are Apache's keys that mean nothing here, with their defaults.
var javaKeys = map[string]string{
	"clientRequestThreadPoolNums": "8", "clientRequestThreadPoolQueueCapacity": "50000", "clusterTest": "false",
	"defaultThreadPoolNums": "16", "defaultThreadPoolQueueCapacity": "10000", "enableControllerInNamesrv": "false",
	"enableShutdownGracefully": "false", "notifyMinBrokerIdChanged": "false", "productEnvName": "center", "rocketmqHome": "",
	"serverAsyncSemaphoreValue": "64", "serverCallbackExecutorThreads": "0", "serverNettyWorkerGroupEnable": "true",
	"serverOnewaySemaphoreValue": "256", "serverPooledByteBufAllocatorEnable": "true", "serverSelectorThreads": "3",
	"serverSocketBacklog": "1024", "serverSocketRcvBufSize": "0", "serverSocketSndBufSize": "0", "serverWorkerThreads": "8",
	"shutdownWaitTimeSeconds": "30", "unRegisterBrokerQueueCapacity": "3000", "useEpollNativeSelector": "false",
	"writeBufferHighWaterMark": "0", "writeBufferLowWaterMark": "0",
}

// key is how one of Apache's keys is read and shown.
type key struct {
	get func(*Options) string
	set func(*Options, string) error
	// live is whether a change at run time takes effect before the next start.
	live bool
}

// keys are Apache's keys that have a field here.
var keys = map[string]key{
	"bindAddress":                       text(func(o *Options) *string { return &o.BindAddress }),
	"listenPort":                        number(0, 65535, func(o *Options) *int { return &o.ListenPort }),
	"kvConfigPath":                      text(func(o *Options) *string { return &o.KVConfigPath }),
	"configStorePath":                   text(func(o *Options) *string { return &o.ConfigStorePath }),
	"serverChannelMaxIdleTimeSeconds":   duration(time.Second, false, func(o *Options) *time.Duration { return &o.IdleTimeout }),
	"scanNotActiveBrokerInterval":       duration(time.Millisecond, true, func(o *Options) *time.Duration { return &o.ScanInterval }),
	"orderMessageEnable":                boolean(func(o *Options) *bool { return &o.OrderMessageEnable }),
	"returnOrderTopicConfigToBroker":    boolean(func(o *Options) *bool { return &o.ReturnOrderTopicConfigToBroker }),
	"supportActingMaster":               boolean(func(o *Options) *bool { return &o.SupportActingMaster }),
	"enableAllTopicList":                boolean(func(o *Options) *bool { return &o.EnableAllTopicList }),
	"enableTopicList":                   boolean(func(o *Options) *bool { return &o.EnableTopicList }),
	"needWaitForService":                boolean(func(o *Options) *bool { return &o.NeedWaitForService }),
	"waitSecondsForService":             duration(time.Second, true, func(o *Options) *time.Duration { return &o.WaitForService }),
	"deleteTopicWithBrokerRegistration": boolean(func(o *Options) *bool { return &o.DeleteTopicWithBrokerRegistration }),
	"configBlackList":                   text(func(o *Options) *string { return &o.ConfigBlackList }),
}

func text(field func(*Options) *string) key {
	return key{
		get: func(o *Options) string { return *field(o) },
		set: func(o *Options, v string) error { *field(o) = v; return nil },
	}
}

func boolean(field func(*Options) *bool) key {
	return key{live: true,
		get: func(o *Options) string { return strconv.FormatBool(*field(o)) },
		set: func(o *Options, v string) (err error) {
			*field(o), err = strconv.ParseBool(strings.ToLower(v))
			return err
		},
	}
}

func number(least, most int, field func(*Options) *int) key {
	return key{
		get: func(o *Options) string { return strconv.Itoa(*field(o)) },
		set: func(o *Options, v string) error {
			n, err := strconv.Atoi(v)
			if err == nil && (n < least || n > most) {
				err = fmt.Errorf("%d is not between %d and %d", n, least, most)
			}
			if err == nil {
				*field(o) = n
			}
			return err
		},
	}
}

func duration(unit time.Duration, live bool, field func(*Options) *time.Duration) key {
	return key{live: live,
		get: func(o *Options) string { return strconv.FormatInt(int64(*field(o)/unit), 10) },
		set: func(o *Options, v string) error {
			n, err := strconv.ParseInt(v, 10, 32)
			if err == nil && n <= 0 {
				err = fmt.Errorf("%d is not above 0", n)
			}
			if err == nil {
				*field(o) = time.Duration(n) * unit
			}
			return err
		},
	}
}

// Load reads a namesrv.conf over the options. From then on a change of settings at run time is written to that file, as
// Java does. A key that nobody knows is a warning, a value that cannot be read an error with its line.
func (o *Options) Load(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	settings, err := codec.ParseSettings(b)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	o.kept = maps.Clone(o.kept)
	for _, s := range settings {
		known, err := o.set(s.Key, s.Value)
		if err != nil {
			return fmt.Errorf("%s:%d: %s: %w", file, s.Line, s.Key, err)
		}
		if !known {
			o.Logger.Warn("unknown key", "file", file, "line", s.Line, "key", s.Key)
		}
	}
	o.ConfigStorePath = file
	return nil
}

// set takes one of Apache's keys; known is false for a key that neither Apache nor Apogee has.
func (o *Options) set(name, value string) (known bool, err error) {
	if k, ok := keys[name]; ok {
		return true, k.set(o, value)
	}
	if _, ok := javaKeys[name]; ok {
		o.kept[name] = value
		return true, nil
	}
	return false, nil
}

// Text returns all of Apache's keys with their values, a line each and in order, as GET_NAMESRV_CONFIG answers.
func (o *Options) Text() string {
	lines := make([]string, 0, len(keys)+len(o.kept))
	for name, k := range keys {
		lines = append(lines, name+"="+k.get(o)+"\n")
	}
	for name, value := range o.kept {
		lines = append(lines, name+"="+value+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func (o *Options) validate() error {
	switch {
	case o.ListenPort < 0 || o.ListenPort > 65535:
		return fmt.Errorf("namesrv: listen port %d is none", o.ListenPort)
	case o.KVConfigPath == "" || o.ConfigStorePath == "":
		return errors.New("namesrv: the paths of kvConfig and configStore must be set")
	case o.IdleTimeout <= 0 || o.ScanInterval <= 0:
		return errors.New("namesrv: idle timeout and scan interval must be above 0")
	case o.Logger == nil || o.Now == nil:
		return errors.New("namesrv: options Logger and Now must be set")
	}
	return nil
}

// clone returns a copy that shares nothing that set changes.
func (o *Options) clone() Options {
	c := *o
	c.kept = maps.Clone(o.kept)
	return c
}
