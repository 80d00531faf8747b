package namesrv

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/apogee-mq/apogee/auth"
	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
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
	// KeepRoutes writes the routes to a file beside the key-value configuration, from which the next start gives them until brokers
	// have registered. Its key, keepRoutesEnable, is Apogee's own. The default is true.
	KeepRoutes bool
	// IdleTimeout closes connections without traffic. The default is 120 s.
	IdleTimeout time.Duration

	// Auth says who may do what. Apache's name server asks nobody. Cluster is the name that policies for clusters mean where a request
	// names none. The default is DefaultCluster.
	Auth    auth.Config
	Cluster string
	// Check, if set, checks requests in place of Auth.
	Check func(*remoting.Request) error
	// OpenIsSaid leaves it to others to say that anybody may administer this server.
	OpenIsSaid bool

	Settings
	NetOptions

	// Logger gets what the server has to say. The default discards it.
	Logger *slog.Logger
	// Now is the clock. The default is time.Now.
	Now func() time.Time

	// kept holds the values of Java's keys that mean nothing here, to be shown and written back.
	kept map[string]string
	// given holds the settings of NetOptions as the file has them.
	given map[string]string
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
		KeepRoutes:      true, IdleTimeout: 120 * time.Second,
		Settings: Settings{ScanInterval: 5 * time.Second, ReturnOrderTopicConfigToBroker: true, EnableAllTopicList: true,
			EnableTopicList: true, WaitForService: 45 * time.Second, ConfigBlackList: "configBlackList;configStorePath;kvConfigPath"},
		Auth: auth.Config{Audit: true}, Cluster: "DefaultCluster",
		NetOptions: defaultNetOptions(),
		Logger:     slog.New(slog.DiscardHandler), Now: time.Now, kept: maps.Clone(javaKeys),
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

// keys are Apache's keys that have a field here.
var keys = codec.SettingKeys[Options]{
	"bindAddress":                       codec.TextKey(func(o *Options) *string { return &o.BindAddress }),
	"listenPort":                        codec.NumberKey(func(o *Options) *int { return &o.ListenPort }, 0, 65535),
	"kvConfigPath":                      codec.TextKey(func(o *Options) *string { return &o.KVConfigPath }),
	"configStorePath":                   codec.TextKey(func(o *Options) *string { return &o.ConfigStorePath }),
	"serverChannelMaxIdleTimeSeconds":   codec.DurationKey(func(o *Options) *time.Duration { return &o.IdleTimeout }, time.Second, time.Second),
	"scanNotActiveBrokerInterval":       codec.LiveKey(codec.DurationKey(func(o *Options) *time.Duration { return &o.ScanInterval }, time.Millisecond, time.Millisecond)),
	"orderMessageEnable":                codec.LiveKey(codec.BoolKey(func(o *Options) *bool { return &o.OrderMessageEnable })),
	"returnOrderTopicConfigToBroker":    codec.LiveKey(codec.BoolKey(func(o *Options) *bool { return &o.ReturnOrderTopicConfigToBroker })),
	"supportActingMaster":               codec.LiveKey(codec.BoolKey(func(o *Options) *bool { return &o.SupportActingMaster })),
	"enableAllTopicList":                codec.LiveKey(codec.BoolKey(func(o *Options) *bool { return &o.EnableAllTopicList })),
	"enableTopicList":                   codec.LiveKey(codec.BoolKey(func(o *Options) *bool { return &o.EnableTopicList })),
	"needWaitForService":                codec.LiveKey(codec.BoolKey(func(o *Options) *bool { return &o.NeedWaitForService })),
	"waitSecondsForService":             codec.LiveKey(codec.DurationKey(func(o *Options) *time.Duration { return &o.WaitForService }, time.Second, time.Second)),
	"deleteTopicWithBrokerRegistration": codec.LiveKey(codec.BoolKey(func(o *Options) *bool { return &o.DeleteTopicWithBrokerRegistration })),
	"configBlackList":                   codec.TextKey(func(o *Options) *string { return &o.ConfigBlackList }),
}

// authKeys are the keys of Auth, which Apache's name server does not have. No request changes or shows them.
func authKeys() codec.SettingKeys[Options] {
	own := auth.AddKeys(codec.SettingKeys[Options]{}, func(o *Options) *auth.Config { return &o.Auth })
	own["clusterName"] = codec.TextKey(func(o *Options) *string { return &o.Cluster })
	delete(own, "migrateAuthFromV1Enabled")
	return own
}

// allKeys are those of a namesrv.conf.
func allKeys() codec.SettingKeys[Options] {
	all := authKeys()
	maps.Copy(all, netKeys)
	maps.Copy(all, keys)
	return all
}

// Load reads a namesrv.conf over the options. From then on a change of settings at run time is written to that file, as
// Java does. A key that nobody knows is a warning, a value that cannot be read an error with its line.
func (o *Options) Load(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	o.kept = maps.Clone(o.kept)
	others, err := allKeys().Load(o, file, b)
	if err != nil {
		return err
	}
	for _, s := range others {
		known, err := o.keep(s)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", file, s.Line, err)
		}
		if !known {
			o.Logger.Warn("unknown key", "file", file, "line", s.Line, "key", s.Key)
		}
	}
	o.ConfigStorePath = file
	return nil
}

// Apply sets what an environment or a command line says over the options, with the keys of namesrv.conf. Source is for
// messages. A key that nobody knows is a warning, a value that cannot be read an error.
func (o *Options) Apply(source string, settings []codec.Setting) error {
	o.kept = maps.Clone(o.kept)
	others, err := allKeys().Apply(o, source, settings)
	if err != nil {
		return err
	}
	for _, s := range others {
		known, err := o.keep(s)
		if err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
		if !known {
			o.Logger.Warn("unknown key", "from", source, "key", s.Key)
		}
	}
	return nil
}

// keep takes a setting that means nothing here, if it is of the type of Java's default; false says that Apache does not know
// it either.
func (o *Options) keep(s codec.Setting) (known bool, err error) {
	value, known := javaKeys[s.Key]
	if !known {
		return false, nil
	}
	if _, err := strconv.ParseBool(value); err == nil && value != "0" && value != "1" {
		if _, err := strconv.ParseBool(strings.ToLower(s.Value)); err != nil {
			return true, fmt.Errorf("%s=%s: want true or false", s.Key, s.Value)
		}
	} else if _, err := strconv.Atoi(value); err == nil {
		if _, err := strconv.ParseInt(s.Value, 10, 32); err != nil {
			return true, fmt.Errorf("%s=%s: want a whole number", s.Key, s.Value)
		}
	}
	o.kept[s.Key] = s.Value
	return true, nil
}

// Text returns all of Apache's keys with their values, a line each and in order, as GET_NAMESRV_CONFIG answers.
func (o *Options) Text() string {
	values := keys.Values(o)
	maps.Copy(values, o.kept)
	return codec.SettingsText(values)
}

// fileText is Text and what it does not show: the keys of Auth and NetOptions, those that are set.
func (o *Options) fileText() string {
	values := keys.Values(o)
	maps.Copy(values, o.kept)
	unset, own := DefaultOptions(), authKeys()
	for key, k := range own {
		if value := k.Get(o); value != k.Get(&unset) {
			values[key] = strings.ReplaceAll(value, `\`, `\\`)
		}
	}
	for key, value := range o.given {
		values[key] = strings.ReplaceAll(value, `\`, `\\`)
	}
	for key, secret := range o.Auth.Secrets() {
		values[key] = strings.ReplaceAll(secret, `\`, `\\`)
	}
	return codec.SettingsText(values)
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
	if err := o.Nsaddr.validate(); err != nil {
		return err
	}
	return o.Auth.Validate()
}

// clone returns a copy that shares nothing that keep changes.
func (o *Options) clone() Options {
	c := *o
	c.kept, c.given = maps.Clone(o.kept), maps.Clone(o.given)
	return c
}
