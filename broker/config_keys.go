package broker

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// key ties one of Java's keys to the field that holds it.
type key struct {
	set func(c *Config, value string) error
	get func(c *Config) string
	// live keys may be changed by UPDATE_BROKER_CONFIG while the broker runs.
	live bool
}

// keyTable is used by reading, by the runtime update request and by printing. Older spellings share a field.
var keyTable = map[string]key{
	"brokerClusterName": text(func(c *Config) *string { return &c.ClusterName }),
	"brokerName":        text(func(c *Config) *string { return &c.Name }),
	"brokerId":          number(func(c *Config) *int64 { return &c.ID }, 0, 1<<62),
	"brokerIP1":         text(func(c *Config) *string { return &c.IP1 }),
	"brokerIP2":         text(func(c *Config) *string { return &c.IP2 }),
	"bindAddress":       text(func(c *Config) *string { return &c.BindAddress }),
	"listenPort":        number(func(c *Config) *int { return &c.ListenPort }, 3, 65535),
	"haListenPort":      number(func(c *Config) *int { return &c.HAListenPort }, 0, 65535),
	"brokerRole":        oneOf(func(c *Config) *string { return &c.Role }, "ASYNC_MASTER", "SYNC_MASTER", "SLAVE"),
	"brokerPermission":  live(number(func(c *Config) *int32 { return &c.Permission }, 0, 15)),
	"regionId":          text(func(c *Config) *string { return &c.RegionID }),
	"namesrvAddr":       text(func(c *Config) *string { return &c.NamesrvAddrs }),

	"registerNameServerPeriod":        millis(func(c *Config) *time.Duration { return &c.RegisterPeriod }),
	"forceRegister":                   boolean(func(c *Config) *bool { return &c.ForceRegister }),
	"compressedRegister":              boolean(func(c *Config) *bool { return &c.RegisterCompressed }),
	"serverChannelMaxIdleTimeSeconds": unit(func(c *Config) *time.Duration { return &c.MaxIdle }, time.Second),

	"defaultTopicQueueNums":              live(number(func(c *Config) *int32 { return &c.DefaultTopicQueueNums }, 1, 65536)),
	"autoCreateTopicEnable":              live(boolean(func(c *Config) *bool { return &c.AutoCreateTopic })),
	"autoCreateSubscriptionGroup":        live(boolean(func(c *Config) *bool { return &c.AutoCreateGroup })),
	"clusterTopicEnable":                 boolean(func(c *Config) *bool { return &c.ClusterTopic }),
	"brokerTopicEnable":                  boolean(func(c *Config) *bool { return &c.BrokerTopic }),
	"traceTopicEnable":                   boolean(func(c *Config) *bool { return &c.TraceTopic }),
	"msgTraceTopicName":                  text(func(c *Config) *string { return &c.TraceTopicName }),
	"traceOn":                            boolean(func(c *Config) *bool { return &c.TraceOn }),
	"longPollingEnable":                  live(boolean(func(c *Config) *bool { return &c.LongPolling })),
	"shortPollingTimeMills":              live(millis(func(c *Config) *time.Duration { return &c.ShortPollingTime })),
	"litePullMessageEnable":              live(boolean(func(c *Config) *bool { return &c.LitePull })),
	"notifyConsumerIdsChangedEnable":     live(boolean(func(c *Config) *bool { return &c.NotifyConsumerIDs })),
	"storeReplyMessageEnable":            live(boolean(func(c *Config) *bool { return &c.StoreReply })),
	"rejectPullConsumerEnable":           live(boolean(func(c *Config) *bool { return &c.RejectPullConsumer })),
	"useServerSideResetOffset":           live(boolean(func(c *Config) *bool { return &c.ServerSideReset })),
	"enableBroadcastOffsetStore":         boolean(func(c *Config) *bool { return &c.BroadcastOffsetStore }),
	"validateSystemTopicWhenUpdateTopic": live(boolean(func(c *Config) *bool { return &c.ValidateSystemTopic })),
	"startAcceptSendRequestTimeStamp":    instant(func(c *Config) *time.Time { return &c.StartAcceptSend }),
	"channelExpiredTimeout":              millis(func(c *Config) *time.Duration { return &c.ChannelExpired }),
	"flushConsumerOffsetInterval":        millis(func(c *Config) *time.Duration { return &c.FlushOffsetsInterval }),
	"flushDelayOffsetInterval":           millis(func(c *Config) *time.Duration { return &c.FlushDelayOffsetsInterval }),

	"storePathRootDir":           text(func(c *Config) *string { return &c.StoreRoot }),
	"storePathCommitLog":         text(func(c *Config) *string { return &c.CommitLogDir }),
	"mappedFileSizeCommitLog":    number(func(c *Config) *int64 { return &c.SegmentBytes }, 4096, 1<<31-1),
	"mapedFileSizeCommitLog":     number(func(c *Config) *int64 { return &c.SegmentBytes }, 4096, 1<<31-1),
	"mappedFileSizeConsumeQueue": number(func(c *Config) *int64 { return &c.QueueSegmentBytes }, 20, 1<<31-1),
	"mapedFileSizeConsumeQueue":  number(func(c *Config) *int64 { return &c.QueueSegmentBytes }, 20, 1<<31-1),
	"flushDiskType":              oneOf(func(c *Config) *string { return &c.FlushDiskType }, "ASYNC_FLUSH", "SYNC_FLUSH"),
	"flushIntervalCommitLog":     millis(func(c *Config) *time.Duration { return &c.FlushInterval }),
	"flushIntervalConsumeQueue":  millis(func(c *Config) *time.Duration { return &c.FlushQueueInterval }),
	"syncFlushTimeout":           millis(func(c *Config) *time.Duration { return &c.SyncFlushTimeout }),
	"maxMessageSize":             live(number(func(c *Config) *int32 { return &c.MaxMessageBytes }, 1, 1<<31-1)),
	"maxFilterMessageSize":       number(func(c *Config) *int32 { return &c.MaxFilterBytes }, 20, 1<<31-1),
	"messageIndexEnable":         boolean(func(c *Config) *bool { return &c.IndexEnable }),
	"maxHashSlotNum":             number(func(c *Config) *int32 { return &c.IndexSlots }, 1, 1<<28),
	"maxIndexNum":                number(func(c *Config) *int32 { return &c.IndexEntries }, 2, 1<<26),
	"defaultQueryMaxNum":         live(number(func(c *Config) *int32 { return &c.QueryMaxNum }, 1, 64)),
	"messageDelayLevel":          text(func(c *Config) *string { return &c.MessageDelayLevel }),
	"checkCRCOnRecover":          boolean(func(c *Config) *bool { return &c.CheckCRCOnRecover }),

	"maxTransferBytesOnMessageInMemory": number(func(c *Config) *int32 { return &c.HotTransferBytes }, 1, 1<<31-1),
	"maxTransferCountOnMessageInMemory": number(func(c *Config) *int32 { return &c.HotTransferCount }, 1, 1<<31-1),
	"maxTransferBytesOnMessageInDisk":   number(func(c *Config) *int32 { return &c.ColdTransferBytes }, 1, 1<<31-1),
	"maxTransferCountOnMessageInDisk":   number(func(c *Config) *int32 { return &c.ColdTransferCount }, 1, 1<<31-1),
	"accessMessageInMemoryMaxRatio":     number(func(c *Config) *int32 { return &c.InMemoryMaxRatio }, 1, 100),
	"maxConsumeQueueScan":               number(func(c *Config) *int32 { return &c.MaxConsumeQueueScan }, 1, 1<<31-1),
	"enableMixedMessageType":            live(boolean(func(c *Config) *bool { return &c.MixedMessageType })),
	"storeType":                         text(func(c *Config) *string { return &c.StoreType }),
	"enableDLegerCommitLog":             boolean(func(c *Config) *bool { return &c.DLedgerCommitLog }),
	"enableControllerMode":              boolean(func(c *Config) *bool { return &c.ControllerMode }),
	"aclEnable":                         boolean(func(c *Config) *bool { return &c.ACL }),
	"authenticationEnabled":             boolean(func(c *Config) *bool { return &c.Authentication }),
	"authorizationEnabled":              boolean(func(c *Config) *bool { return &c.Authorization }),
	"enablePropertyFilter":              boolean(func(c *Config) *bool { return &c.PropertyFilter }),
}

// Text prints every key that has an effect here, one key=value a line in alphabetical order.
func (c *Config) Text() string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(keyTable)) {
		fmt.Fprintf(&text, "%s=%s\n", name, keyTable[name].get(c))
	}
	return text.String()
}

func live(k key) key {
	k.live = true
	return k
}

func text(field func(*Config) *string) key {
	return key{
		set: func(c *Config, v string) error { *field(c) = v; return nil },
		get: func(c *Config) string { return *field(c) },
	}
}

func oneOf(field func(*Config) *string, values ...string) key {
	k := text(field)
	k.set = func(c *Config, v string) error {
		for _, allowed := range values {
			if v == allowed {
				*field(c) = v
				return nil
			}
		}
		return fmt.Errorf("want one of %v", values)
	}
	return k
}

func number[T int | int32 | int64](field func(*Config) *T, least, most int64) key {
	return key{
		set: func(c *Config, v string) error {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil || n < least || n > most {
				return fmt.Errorf("want a whole number from %d to %d", least, most)
			}
			*field(c) = T(n)
			return nil
		},
		get: func(c *Config) string { return strconv.FormatInt(int64(*field(c)), 10) },
	}
}

func boolean(field func(*Config) *bool) key {
	return key{
		set: func(c *Config, v string) error {
			b, err := strconv.ParseBool(v)
			if err != nil {
				return fmt.Errorf("want true or false")
			}
			*field(c) = b
			return nil
		},
		get: func(c *Config) string { return strconv.FormatBool(*field(c)) },
	}
}

func millis(field func(*Config) *time.Duration) key { return unit(field, time.Millisecond) }

func unit(field func(*Config) *time.Duration, one time.Duration) key {
	return key{
		set: func(c *Config, v string) error {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil || n < 0 || n > int64(1<<62/one) {
				return fmt.Errorf("want a number of %s, not negative", map[time.Duration]string{time.Millisecond: "milliseconds", time.Second: "seconds"}[one])
			}
			*field(c) = time.Duration(n) * one
			return nil
		},
		get: func(c *Config) string { return strconv.FormatInt(int64(*field(c)/one), 10) },
	}
}

func instant(field func(*Config) *time.Time) key {
	return key{
		set: func(c *Config, v string) error {
			ms, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return fmt.Errorf("want milliseconds since 1970")
			}
			if *field(c) = time.UnixMilli(ms); ms == 0 {
				*field(c) = time.Time{}
			}
			return nil
		},
		get: func(c *Config) string {
			if field(c).IsZero() {
				return "0"
			}
			return strconv.FormatInt(field(c).UnixMilli(), 10)
		},
	}
}
