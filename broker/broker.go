// Package broker puts a broker together: configuration, the order of opening and closing, the registration at name servers and
// everything that ticks.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apogee-mq/apogee/auth"
	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/processor"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/remoting/web"
	"github.com/apogee-mq/apogee/store"
)

// manyQueues is from how many queues on the memory that opening them took is given back at once: three times what stays.
const manyQueues = 10_000

// vipBelow is how far the VIP port lies below the main one. Apache: BrokerController.initializeRemotingServer.
const vipBelow = 2

// duePeriod is how often parked requests whose time is over are looked for, and what POP delivered whose invisible time is. An idle
// broker wakes for little else: half the period is twice the processor time. Apache: 5 s for pulls, 1 s for what POP delivered.
const duePeriod = 100 * time.Millisecond

// transactionsPeriod is how often transactions are looked at.
const transactionsPeriod = 100 * time.Millisecond

// transactionCountsPeriod is how often the counts of open transactions are written. Apache: transactionMetricFlushInterval.
const transactionCountsPeriod = 10 * time.Second

// clientsPeriod is how often clients that have gone silent are looked for. Apache: ClientHousekeepingService.
const clientsPeriod = 10 * time.Second

// filtersPeriod is how often the filters of groups are written. Apache: BrokerController.initializeBrokerScheduledTasks.
const filtersPeriod = 10 * time.Second

// listenerVIP is the index of the VIP port among the server's listeners.
const listenerVIP = 1

// Broker is a running broker.
type Broker struct {
	// Addr is what clients are given, Listeners what is listened on: the main port, the VIP port and those of the key listeners.
	Addr      netip.AddrPort
	Listeners []netip.AddrPort

	config    *liveConfig
	log       *slog.Logger
	store     *store.Store
	topics    *store.Topics
	groups    *store.Groups
	mappings  *store.Mappings
	filters   *store.Filters
	offsets   *store.Offsets
	schedule  *store.Schedule
	txn       *store.Txn
	pop       *store.Pop
	timer     *store.Timer // nil with timerWheelEnable=false
	modes     *store.RequestModes
	processor *processor.Processor
	guard     *auth.Guard
	server    *remoting.Server
	client    *remoting.Client
	tls       *remoting.TLS
	register  *Registrar
	http      *web.Server // nil: nothing is served
	pusher    *web.Pusher // nil: nothing is sent
	services  *services
	// topicsKnown is whether there was a table of topics when the broker opened.
	topicsKnown bool
	// told is the processor once the store's dispatcher may call it.
	told atomic.Pointer[processor.Processor]
}

// Open starts a broker: the store is recovered, both ports listen and the name servers have been told when it returns.
func Open(cfg Config, log *slog.Logger) (*Broker, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.applyLogLevel()
	ip, err := advertisedIP(cfg.IP1, cfg.BindAddress, net.InterfaceAddrs)
	if err != nil {
		return nil, err
	}
	b := &Broker{Addr: netip.AddrPortFrom(ip, uint16(cfg.ListenPort)), log: log, services: newServices(), config: newLiveConfig(cfg)}
	if b.tls, err = cfg.openTLS(log); err != nil {
		return nil, err
	}
	client := clientOptions(cfg)
	client.Dial = b.tls.Dial(client.Dial)
	b.client = remoting.NewClient(client)
	b.register = NewRegistrar(b.registrarOptions(cfg))
	for _, step := range []func(Config) error{b.openStore, b.openGuard, b.openProcessor, b.listen, b.startServices, b.openHTTP} {
		if err := step(cfg); err != nil {
			b.abandon()
			return nil, err
		}
	}
	if b.store.Queues() >= manyQueues {
		debug.FreeOSMemory()
	}
	return b, nil
}

// abandon undoes a start that went wrong half-way.
func (b *Broker) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		b.log.Warn("closing what had been opened", "err", err)
	}
}

// openStore opens the commit log and the tables. The store's lock keeps other processes away from all the files, so the
// tables are opened under it: expressions and topics when recovery asks for them, the rest afterwards.
func (b *Broker) openStore(cfg Config) (err error) {
	config := filepath.Join(cfg.StoreRoot, "config")
	levels, err := store.ParseDelayLevels(cfg.MessageDelayLevel)
	if err != nil {
		return fmt.Errorf("messageDelayLevel: %w", err)
	}
	var topicsErr error
	openTopics := sync.OnceFunc(func() { topicsErr = b.openTopics(cfg, filepath.Join(config, "topics.json")) })
	opts := b.storeOptions(cfg)
	opts.DelayLevels = levels
	opts.TopicExists = func(topic string) bool {
		openTopics()
		return topicsErr != nil || b.topicExists(topic)
	}
	opts.QueueType = func(topic string) store.QueueType {
		if openTopics(); topicsErr != nil {
			return store.QueueTypeUnknown
		}
		return b.queueType(topic)
	}
	if cfg.CompactionEnable {
		opts.CompactionTopic = func(topic string) bool {
			openTopics()
			return topicsErr == nil && b.compactionTopic(topic)
		}
	}
	opts.OnArrival = func(batch []store.Arrival) {
		if p := b.told.Load(); p != nil {
			p.Arrived(batch)
		}
	}
	opts.OpenFilters = func() (_ *store.Filters, err error) {
		b.filters, err = openFilters(config, cfg, b.tableOptions())
		return b.filters, err
	}
	if b.store, err = store.Open(opts); err != nil {
		return err
	}
	if openTopics(); topicsErr != nil {
		return topicsErr
	}
	tables := b.tableOptions()
	b.groups, err = store.OpenGroups(filepath.Join(config, "subscriptionGroup.json"), store.GroupsOptions{TableOptions: tables, AutoCreate: cfg.AutoCreateGroup, LMQ: cfg.LMQ})
	if err != nil {
		return err
	}
	b.mappings, err = store.OpenMappings(filepath.Join(config, "topicQueueMapping.json"), store.MappingsOptions{TableOptions: tables, Broker: cfg.Name,
		OnChange: func() {
			b.topics.Touch()
			b.register.Changed()
		}})
	if err != nil {
		return err
	}
	if b.offsets, err = openOffsets(config, cfg, tables); err != nil {
		return err
	}
	b.schedule, err = store.OpenSchedule(filepath.Join(config, "delayOffset.json"), b.store, store.ScheduleOptions{
		TableOptions: tables, Levels: levels, OnDeliver: b.levelDelivered,
	})
	if err != nil {
		return err
	}
	if b.txn, err = store.OpenTxn(b.store, b.offsets, store.TxnOptions{TableOptions: tables, Topics: b.topics}); err != nil {
		return err
	}
	if b.modes, err = store.OpenRequestModes(filepath.Join(config, "messageRequestMode.json"), tables); err != nil {
		return err
	}
	b.pop, err = store.OpenPop(b.store, b.offsets, store.PopOptions{
		TableOptions: tables, Cluster: cfg.ClusterName, BrokerName: cfg.Name, Queues: int(cfg.ReviveQueueNum),
		TimerReached: b.timerReached, Redirect: b.redirect,
	})
	if err != nil {
		return err
	}
	return b.openTimer(cfg)
}

// openFilters opens the table of expressions.
func openFilters(dir string, cfg Config, tables store.TableOptions) (*store.Filters, error) {
	return store.OpenFilters(filepath.Join(dir, "consumerFilter.json"), store.FiltersOptions{
		TableOptions: tables, CleanAfter: cfg.FilterDataCleanTime,
		BloomErrorPercent: cfg.FilterErrorPercent, BloomGroups: cfg.FilterConsumers,
	})
}

// openOffsets opens the table of offsets, which lies in another file when there are light message queues.
func openOffsets(dir string, cfg Config, tables store.TableOptions) (*store.Offsets, error) {
	opts, plain := store.OffsetsOptions{TableOptions: tables}, filepath.Join(dir, "consumerOffset.json")
	if cfg.LMQ {
		return store.OpenLMQOffsets(filepath.Join(dir, "lmqConsumerOffset.json"), plain, opts)
	}
	return store.OpenOffsets(plain, opts)
}

func (b *Broker) tableOptions() store.TableOptions {
	return store.TableOptions{Logger: b.log, Now: time.Now}
}

func (b *Broker) openTopics(cfg Config, path string) (err error) {
	_, err = os.Stat(path)
	b.topicsKnown = err == nil
	b.topics, err = store.OpenTopics(path, store.TopicsOptions{
		TableOptions: b.tableOptions(), Cluster: cfg.ClusterName, Broker: cfg.Name, AutoCreate: cfg.AutoCreateTopic,
		DefaultQueueNums: cfg.DefaultTopicQueueNums, ClusterTopic: cfg.ClusterTopic, BrokerTopic: cfg.BrokerTopic,
		TraceTopic: cfg.TraceTopic, TraceTopicName: cfg.TraceTopicName, LMQ: cfg.LMQ,
		OnChange: b.topicsChanged,
	})
	return err
}

// topicExists keeps the queues of deleted topics from coming back with recovery. Where the table itself was lost, every
// topic counts as there.
func (b *Broker) topicExists(topic string) bool {
	_, ok := b.topics.Get(topic)
	return ok || !b.topicsKnown || b.topics.IsSystem(topic)
}

// queueType is that of a known topic.
func (b *Broker) queueType(topic string) store.QueueType {
	if cfg, ok := b.topics.Get(topic); ok {
		return store.QueueTypeOf(cfg)
	}
	return store.QueueTypeUnknown
}

func (b *Broker) storeOptions(cfg Config) store.Options {
	opts := store.DefaultOptions(cfg.StoreRoot)
	if dirs := store.SplitLogDirs(cfg.CommitLogDir); len(dirs) > 0 {
		opts.CommitLogDir, opts.MoreLogDirs = dirs[0], dirs[1:]
	}
	opts.ReadOnlyLogDirs = store.SplitLogDirs(cfg.ReadOnlyLogDirs)
	opts.SegmentBytes, opts.QueueSegmentEntries = cfg.SegmentBytes, int(cfg.QueueSegmentBytes/20)
	opts.BatchQueueSegmentEntries = int(cfg.BatchQueueSegmentBytes / 46)
	if cfg.FlushDiskType == "SYNC_FLUSH" {
		opts.FlushMode = store.FlushSync
	}
	opts.FlushInterval, opts.QueueFlushInterval, opts.SyncFlushTimeout = cfg.FlushInterval, cfg.FlushQueueInterval, cfg.SyncFlushTimeout
	opts.MaxMessageBytes, opts.MaxFilterBytes = int(cfg.MaxMessageBytes), int(cfg.MaxFilterBytes)
	opts.MaxHotMessages, opts.MaxHotBytes = int(cfg.HotTransferCount), int(cfg.HotTransferBytes)
	opts.MaxColdMessages, opts.MaxColdBytes = int(cfg.ColdTransferCount), int(cfg.ColdTransferBytes)
	opts.IndexEnabled, opts.IndexSlots, opts.IndexEntries = cfg.IndexEnable, int(cfg.IndexSlots), int(cfg.IndexEntries)
	opts.Retention = cfg.rules()
	opts.LiveOffsets = func(each func(store.LiveOffset) bool) {
		if p := b.told.Load(); p != nil {
			p.LiveOffsets(each)
		}
	}
	opts.AppendPropCRC, opts.ForcePropCRC = cfg.AppendPropCRC, cfg.ForcePropCRC
	opts.ExtUnits, opts.ExtSegmentBytes, opts.BitMaps = cfg.ConsumeQueueExt, cfg.ExtSegmentBytes, cfg.CalcFilterBitMap
	opts.MultiDispatch, opts.MaxLMQs = cfg.LMQ && cfg.MultiDispatch, int(cfg.MaxLMQs)
	cfg.compaction(&opts)
	opts.CheckCRC, opts.StoreHost, opts.Logger = cfg.CheckCRCOnRecover, b.Addr, b.log
	return opts
}

func (b *Broker) openProcessor(cfg Config) (err error) {
	routes := &routes{ask: b.register.Route, now: time.Now}
	b.processor, err = processor.New(processor.Options{
		Settings: processorSettings(cfg, b.Addr.Addr()), StoreHost: b.Addr,
		Store: b.store, Topics: b.topics, Groups: b.groups, Offsets: b.offsets, Schedule: b.schedule, Txn: b.txn, Pop: b.pop,
		Timer:      b.timer,
		IDs:        codec.NewUniqueIDs(b.Addr.Addr(), os.Getpid(), rand.Uint32()),
		Submit:     func(kind remoting.PoolKind, task interface{ Run() }) bool { return b.server.Pool(kind).Submit(task) },
		ReadConfig: b.readConfig, UpdateConfig: b.updateConfig,
		AwaitRegistered: b.awaitRegistered,
		Filters:         b.filters,
		RequestModes:    b.modes,
		Route:           routes.queues,
		WriteQueues:     routes.writeQueues,
		Mappings:        b.mappings, Forward: b.newPeers().forward, RouteData: b.register.Route,
		StartedAt: time.Now(), StoreDir: cfg.StoreRoot, PoolLoad: b.poolLoad,
		Now: time.Now, Random: rand.Int32N, Logger: b.log,
	})
	b.told.Store(b.processor)
	return err
}

func processorSettings(cfg Config, ip netip.Addr) processor.Settings {
	return processor.Settings{
		ClusterName: cfg.ClusterName, BrokerName: cfg.Name, BrokerID: cfg.ID, BrokerIP: ip.String(), RegionID: cfg.RegionID, TraceOn: cfg.TraceOn,
		Permission: cfg.Permission, AcceptSendsFrom: cfg.StartAcceptSend, MaxMessageBytes: int(cfg.MaxMessageBytes),
		SyncFlush: cfg.FlushDiskType == "SYNC_FLUSH", PropertyFilter: cfg.PropertyFilter, LitePull: cfg.LitePull, LongPolling: cfg.LongPolling,
		ShortPolling: cfg.ShortPollingTime, RejectPullConsumer: cfg.RejectPullConsumer, ServerSideReset: cfg.ServerSideReset,
		StoreReply: cfg.StoreReply, NotifyConsumerIDs: cfg.NotifyConsumerIDs, ValidateSystemTopic: cfg.ValidateSystemTopic,
		MixedMessageType: cfg.MixedMessageType, QueryMaxNum: cfg.QueryMaxNum, ChannelExpired: cfg.ChannelExpired,
		PopSettings: cfg.Pop, LiteSettings: cfg.Lite,
		RejectTransactions: cfg.RejectTransactions, TransactionTimeOut: cfg.TransactionTimeOut,
		TransactionCheckInterval: cfg.TransactionCheckInterval, TransactionCheckMax: cfg.TransactionCheckMax,
		TransactionOpMaxBytes: cfg.TransactionOpMaxBytes, TransactionOpInterval: cfg.TransactionOpInterval,
		TimerMaxDelay: cfg.TimerMaxDelay, TimerSlotMax: cfg.TimerSlotMax,
		Recall: cfg.Recall, RecallUnwritable: cfg.RecallUnwritable, RecallByTopic: cfg.RecallByTopic,
		MessageRetention: cfg.FileReservedTime,
	}
}

func (b *Broker) registrarOptions(cfg Config) RegistrarOptions {
	return RegistrarOptions{
		Cluster: cfg.ClusterName, Broker: cfg.Name, BrokerID: cfg.ID, Addr: b.Addr.String(), HAAddr: haAddr(cfg, b.Addr.Addr()),
		Namesrvs: cfg.NamesrvAddrs, Finding: cfg.Finding.ByAddressServer, Period: cfg.RegisterPeriod, Compressed: cfg.RegisterCompressed, QueryFirst: !cfg.ForceRegister, SplitSize: cfg.splitSize(),
		Topics: b.topicsToRegister, Client: b.client, Logger: b.log, Advertised: cfg.Advertised,
	}
}

func (b *Broker) listen(cfg Config) (err error) {
	opts := remoting.DefaultOptions()
	opts.Addrs = cfg.listenOn()
	opts.Table = func(listener int) *remoting.Table {
		entries := b.processor.Table()
		if listener == listenerVIP {
			entries = b.processor.VIPTable()
		}
		return remoting.NewTable(b.guard.Audit(append(b.guarded(entries), b.guard.Entries()...)))
	}
	opts.Guard = b.guard.Check()
	opts.IdleTimeout, opts.Logger, opts.TLS = cfg.MaxIdle, b.log, b.tls
	if opts.ProxySources, err = cfg.proxySources(); err != nil {
		return err
	}
	clear(opts.MaxWait[:])
	if cfg.FastFailure {
		opts.MaxWait[remoting.PoolSend], opts.MaxWait[remoting.PoolPull] = cfg.SendWait, cfg.PullWait
		opts.MaxWait[remoting.PoolClient], opts.MaxWait[remoting.PoolAdmin] = cfg.HeartbeatWait, cfg.AdminWait
	}
	opts.OnClose = func(c remoting.Conn, _ error) { b.processor.ConnClosed(c) }
	opts.OnDrain = b.processor.Drain
	if b.server, err = remoting.Open(opts); err != nil {
		return err
	}
	b.Listeners = b.server.Addrs()
	if err := dialSelf(b.Addr.String(), time.Second); err != nil {
		b.log.Warn("the address that clients are given cannot be reached from here; set brokerIP1", "addr", b.Addr, "err", err)
	}
	b.services.run(func(context.Context) { cfg.logAdvertised(b.log) })
	return nil
}

// awaitRegistered keeps a client that creates a topic and asks for its route at once from finding none.
func (b *Broker) awaitRegistered() {
	ctx, cancel := context.WithTimeout(context.Background(), registerWait)
	defer cancel()
	b.register.AwaitChanged(ctx)
}

// poolLoad tells what waits in a pool and how much may.
func (b *Broker) poolLoad(kind remoting.PoolKind) (waiting, capacity int) {
	return b.server.Pool(kind).Len(), remoting.DefaultOptions().Queue[kind]
}

func (b *Broker) startServices(cfg Config) error {
	s := b.services
	s.run(b.guard.Run)
	find := newNamesrvFinder(cfg, b.register.SetNamesrvs, b.log)
	find.first(s.ctx)
	s.run(b.register.Run)
	s.run(find.run)
	s.run(b.tls.Watch)
	b.register.AwaitFirst()
	s.run(func(ctx context.Context) {
		if err := b.schedule.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			b.log.Error("delivery of delayed messages has ended", "err", err)
		}
	})
	s.run(func(ctx context.Context) { b.store.Retain(ctx, cfg.CleanInterval) })
	if cfg.ScrubBytesPerSecond > 0 {
		s.run(func(ctx context.Context) { b.scrub(ctx, cfg.scrubOptions()) })
	}
	b.startTimer(cfg)
	s.every(duePeriod, func() { b.processor.TickHold(time.Now()) })
	s.every(duePeriod, func() { b.processor.TickPop(time.Now()) })
	s.every(duePeriod, func() { b.processor.TickLite(time.Now()) })
	s.every(transactionsPeriod, func() { b.processor.TickTransactions(time.Now()) })
	s.every(clientsPeriod, func() { b.processor.TickClients(time.Now()) })
	s.run(b.cleanMappings)
	s.every(filtersPeriod, b.logged("persist filters of groups", b.filters.Persist))
	s.every(transactionCountsPeriod, b.logged("persist counts of transactions", b.txn.PersistCounts))
	s.every(cfg.FlushOffsetsInterval, b.logged("persist ordered pops", b.pop.PersistOrders))
	s.every(cfg.FlushOffsetsInterval, b.logged("persist consumer offsets", b.offsets.Persist))
	s.every(cfg.FlushDelayOffsetsInterval, b.logged("persist delay offsets", b.schedule.Persist))
	return nil
}

func (b *Broker) logged(what string, f func() error) func() {
	return func() {
		if err := f(); err != nil {
			b.log.Error(what, "err", err)
		}
	}
}

// Close tells the name servers, answers what is in flight, writes every table and closes the store.
func (b *Broker) Close(ctx context.Context) error {
	var errs []error
	closeIf := func(open bool, f func() error) {
		if open {
			errs = append(errs, f())
		}
	}
	// Only a broker that listened may have registered; taking back another one's registration would be wrong.
	closeIf(b.http != nil, func() error { return b.http.Close(ctx) })
	closeIf(b.pusher != nil, func() error { return b.pusher.Close(ctx) })
	closeIf(b.server != nil, func() error { b.register.Unregister(ctx); return nil })
	closeIf(b.server != nil, func() error { return b.server.Close(ctx) })
	b.services.stop()
	closeIf(b.client != nil, b.client.Close)
	closeIf(b.txn != nil, b.txn.Close)
	closeIf(b.pop != nil, b.pop.Close)
	closeIf(b.timer != nil, b.timer.Close)
	closeIf(b.offsets != nil, b.offsets.Close)
	closeIf(b.schedule != nil, b.schedule.Persist)
	closeIf(b.filters != nil, b.filters.Close)
	closeIf(b.groups != nil, b.groups.Close)
	closeIf(b.mappings != nil, b.mappings.Close)
	closeIf(b.topics != nil, b.topics.Close)
	closeIf(b.store != nil, b.store.Close)
	return errors.Join(errs...)
}
