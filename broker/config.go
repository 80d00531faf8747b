package broker

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/apogee-mq/apogee/auth"
	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/processor"
	"github.com/apogee-mq/apogee/remoting/web"
)

// Config is what a broker.conf, the environment and the flags say. The zero value is unusable; start from DefaultConfig.
// Apache: BrokerConfig, BrokerIdentity, MessageStoreConfig and NettyServerConfig together.
type Config struct {
	// File is where the settings came from; UPDATE_BROKER_CONFIG writes it anew. Empty means there is none.
	File string

	ClusterName string
	Name        string
	ID          int64
	// IP1 is the address that clients are given; empty picks the first that is not loopback. IP2 is the slaves' one.
	IP1, IP2    string
	BindAddress string
	ListenPort  int
	ListenConfig
	HAListenPort int
	Role         string
	Permission   int32
	RegionID     string
	// LogLevel is debug, info, warn or error; empty leaves Level as it is. Level, if set, is what the log obeys.
	LogLevel string
	Level    *slog.LevelVar
	// NamesrvAddrs is the name servers' list, addresses separated by ";".
	NamesrvAddrs   string
	RegisterPeriod time.Duration
	ForceRegister  bool
	// RegisterCompressed sends the topics to the name servers as zlib.
	RegisterCompressed bool

	DefaultTopicQueueNums int32
	AutoCreateTopic       bool
	AutoCreateGroup       bool
	ClusterTopic          bool
	BrokerTopic           bool
	TraceTopic            bool
	TraceTopicName        string
	TraceOn               bool
	LongPolling           bool
	ShortPollingTime      time.Duration
	LitePull              bool
	NotifyConsumerIDs     bool
	StoreReply            bool
	RejectPullConsumer    bool
	ServerSideReset       bool
	BroadcastOffsetStore  bool
	ValidateSystemTopic   bool
	StartAcceptSend       time.Time
	ChannelExpired        time.Duration

	RejectTransactions       bool
	TransactionTimeOut       time.Duration
	TransactionCheckInterval time.Duration
	TransactionCheckMax      int32
	TransactionOpMaxBytes    int32
	TransactionOpInterval    time.Duration

	Pop            processor.PopSettings
	Lite           processor.LiteSettings
	ReviveQueueNum int32
	TimerConfig

	FlushOffsetsInterval      time.Duration
	FlushDelayOffsetsInterval time.Duration

	// BatchQueueSegmentBytes is the length of a new file of a batch consume queue.
	BatchQueueSegmentBytes int64

	StoreRoot           string
	CommitLogDir        string
	ReadOnlyLogDirs     string
	SegmentBytes        int64
	QueueSegmentBytes   int64
	FlushDiskType       string
	FlushInterval       time.Duration
	FlushQueueInterval  time.Duration
	SyncFlushTimeout    time.Duration
	MaxMessageBytes     int32
	MaxFilterBytes      int32
	IndexEnable         bool
	IndexSlots          int32
	IndexEntries        int32
	QueryMaxNum         int32
	MessageDelayLevel   string
	CheckCRCOnRecover   bool
	HotTransferBytes    int32
	HotTransferCount    int32
	ColdTransferBytes   int32
	ColdTransferCount   int32
	InMemoryMaxRatio    int32
	StoreType           string
	ConfigManager       string
	QueuesTwice         bool
	TimerRocksDB        bool
	TransactionRocksDB  bool
	DLedgerCommitLog    bool
	ControllerMode      bool
	PropertyFilter      bool
	FilterDataCleanTime time.Duration
	// ConsumeQueueExt gives queue entries units in files of ExtSegmentBytes, CalcFilterBitMap gives units bit maps for FilterConsumers
	// groups, of which FilterErrorPercent percent are asked for messages that do not pass.
	ConsumeQueueExt                     bool
	ExtSegmentBytes                     int64
	CalcFilterBitMap                    bool
	FilterConsumers, FilterErrorPercent int
	MixedMessageType                    bool
	LMQ, MultiDispatch                  bool
	MaxLMQs                             int32
	AppendPropCRC                       bool
	ForcePropCRC                        bool
	MaxIdle                             time.Duration
	// FastFailure answers requests that waited longer than the limits below with SYSTEM_BUSY instead of running them.
	FastFailure                                  bool
	SendWait, PullWait, HeartbeatWait, AdminWait time.Duration
	MaxConsumeQueueScan                          int32

	// Auth says who may do what.
	Auth auth.Config
	// OnGuard, if set, is told of the guard before anything is sent to a name server.
	OnGuard func(*auth.Guard)

	HTTP HTTPConfig
	NetConfig
	CompactionConfig
	RetentionConfig
	ScrubConfig

	// kept are settings of Apache's that have no effect here, to be shown as they were set. It is replaced, never changed.
	kept map[string]string
}

// DefaultConfig gives Java's defaults.
func DefaultConfig() Config {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "DEFAULT_BROKER"
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "."
	}
	return Config{
		TimerConfig: defaultTimerConfig(),
		ClusterName: "DefaultCluster", Name: host, BindAddress: "0.0.0.0", ListenPort: 10911,
		Role: "ASYNC_MASTER", Permission: 6, RegionID: "DefaultRegion",
		NamesrvAddrs: os.Getenv("NAMESRV_ADDR"), TransactionTimeOut: 6 * time.Second, TransactionCheckInterval: 30 * time.Second,
		TransactionCheckMax: 15, TransactionOpMaxBytes: 4096, TransactionOpInterval: 3 * time.Second,
		RegisterPeriod: 30 * time.Second, ForceRegister: true,
		DefaultTopicQueueNums: 8, AutoCreateTopic: true, AutoCreateGroup: true, ClusterTopic: true, BrokerTopic: true,
		TraceTopicName: "RMQ_SYS_TRACE_TOPIC", TraceOn: true, LongPolling: true, ShortPollingTime: time.Second,
		LitePull: true, NotifyConsumerIDs: true, StoreReply: true, ServerSideReset: true, BroadcastOffsetStore: true,
		ValidateSystemTopic: true, ChannelExpired: 120 * time.Second,
		Pop: processor.DefaultPopSettings(), Lite: processor.DefaultLiteSettings(), ReviveQueueNum: 8,
		FlushOffsetsInterval: 5 * time.Second, FlushDelayOffsetsInterval: 10 * time.Second,
		StoreRoot: filepath.Join(home, "store"), SegmentBytes: 1 << 30, QueueSegmentBytes: 6_000_000, BatchQueueSegmentBytes: 13_800_000,
		FlushDiskType: "ASYNC_FLUSH", FlushInterval: 500 * time.Millisecond, FlushQueueInterval: time.Second,
		SyncFlushTimeout: 5 * time.Second, MaxMessageBytes: 4 << 20, MaxFilterBytes: 16000,
		IndexEnable: true, IndexSlots: 5_000_000, IndexEntries: 20_000_000, QueryMaxNum: 32,
		MessageDelayLevel: "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h",
		CheckCRCOnRecover: true, HotTransferBytes: 256 << 10, HotTransferCount: 32, ColdTransferBytes: 64 << 10,
		ColdTransferCount: 8, FilterDataCleanTime: 24 * time.Hour, InMemoryMaxRatio: 40, StoreType: "default", ConfigManager: "v1", MaxIdle: 120 * time.Second,
		FastFailure: true, SendWait: 200 * time.Millisecond, PullWait: 5 * time.Second, HeartbeatWait: 31 * time.Second,
		AdminWait:           5 * time.Second,
		MaxConsumeQueueScan: 20000, MaxLMQs: 20000, ExtSegmentBytes: 48 << 20, FilterConsumers: 32, FilterErrorPercent: 20,
		Auth:             auth.Config{Home: os.Getenv("ROCKETMQ_HOME"), Audit: true},
		HTTP:             HTTPConfig{Config: web.Config{Port: 5557}, Exporter: web.ExporterNone, Push: web.DefaultPushConfig()},
		NetConfig:        defaultNetConfig(),
		CompactionConfig: defaultCompactionConfig(), RetentionConfig: defaultRetentionConfig(), ScrubConfig: defaultScrubConfig(),
	}
}

// Load reads a broker.conf over c. A key that nobody knows is a warning with its line, and so is one of Apache's that was set to
// something which is not served; a value that cannot be is an error that names file, line and key.
func (c *Config) Load(path string, log *slog.Logger) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the broker's settings: %w", err)
	}
	others, err := keyTable.Load(c, path, text)
	if err != nil {
		return err
	}
	c.File = path
	_, unknown, err := c.keep(others)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, s := range unknown {
		log.Warn("unknown setting is ignored", "file", path, "line", s.Line, "key", s.Key)
	}
	for _, s := range c.ineffective() {
		log.Warn("setting has no effect", "file", path, "key", s.Key, "why", s.Value)
	}
	return nil
}

// Apply sets what an environment or a command line says over c, with the keys of broker.conf. Source is for messages. An
// unknown key is a warning; a value that cannot be is an error that names source and key.
func (c *Config) Apply(source string, settings []codec.Setting, log *slog.Logger) error {
	others, err := keyTable.Apply(c, source, settings)
	if err != nil {
		return err
	}
	_, unknown, err := c.keep(others)
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	for _, s := range unknown {
		log.Warn("unknown setting is ignored", "from", source, "key", s.Key)
	}
	return nil
}

// applyLogLevel makes the log obey LogLevel.
func (c *Config) applyLogLevel() {
	if c.Level == nil || c.LogLevel == "" {
		return
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err == nil {
		c.Level.Set(level)
	}
}

// validate refuses what cannot work, before anything is touched.
func (c *Config) validate() error {
	switch {
	case c.Name == "":
		return fmt.Errorf("brokerName is empty")
	case c.ListenPort < 3 || c.ListenPort > 65535:
		return fmt.Errorf("listenPort %d: want 3 to 65535 (the VIP port is two below it)", c.ListenPort)
	case c.Role == "SLAVE" || c.ID > 0:
		return fmt.Errorf("brokerRole=%s brokerId=%d: this version runs masters only (ASYNC_MASTER or SYNC_MASTER, brokerId 0)", c.Role, c.ID)
	case c.Role == "SYNC_MASTER":
		return fmt.Errorf("brokerRole=SYNC_MASTER: this version does not replicate, so no send could be confirmed by a slave; use ASYNC_MASTER")
	case c.ControllerMode:
		return fmt.Errorf("enableControllerMode=true: this version has no controller; switch the group to plain master first")
	case c.DLedgerCommitLog:
		return fmt.Errorf("enableDLegerCommitLog=true: DLedger stores are not readable here; convert the group to a plain master first")
	case c.StoreType != "default":
		return fmt.Errorf("storeType=%s: RocksDB queues are not readable here; only storeType=default is", c.StoreType)
	case c.ConfigManager == "v2":
		return fmt.Errorf("configManagerVersion=%s: tables in RocksDB are not readable here; export them to JSON with Apache's mqadmin rocksDBConfigToJson and use v1", c.ConfigManager)
	case c.QueuesTwice:
		return fmt.Errorf("rocksdbCQDoubleWriteEnable=true: queues are kept as files only here; remove the key")
	case c.TimerRocksDB:
		return fmt.Errorf("timerRocksDBEnable=true: timer messages in RocksDB are not readable here; switch Apache's broker back to the file timer and remove the key")
	case c.TransactionRocksDB:
		return fmt.Errorf("transRocksDBEnable=true: transactions in RocksDB are not readable here; let Apache's broker end them without the key first")
	}
	if err := c.ListenConfig.validate(c.BindAddress); err != nil {
		return err
	}
	return c.Auth.Validate()
}
