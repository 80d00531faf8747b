package broker

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// liveConfig is the configuration of a running broker: read and updated by requests.
type liveConfig struct {
	mu      sync.Mutex // guards all below
	config  Config
	version codec.DataVersion
}

func newLiveConfig(cfg Config) *liveConfig { return &liveConfig{config: cfg} }

func (l *liveConfig) permission() int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.config.Permission
}

func (l *liveConfig) timer() TimerConfig {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.config.TimerConfig
}

// readConfig answers GET_BROKER_CONFIG: all of Apache's keys and those of ours, one key=value a line.
func (b *Broker) readConfig() ([]byte, codec.DataVersion) {
	b.config.mu.Lock()
	shown, version := b.config.config, b.config.version
	b.config.mu.Unlock()
	if shown.IP1 == "" {
		shown.IP1 = b.Addr.Addr().String()
	}
	if shown.IP2 == "" {
		shown.IP2 = shown.IP1
	}
	return []byte(shown.Text()), version
}

// updateConfig serves UPDATE_BROKER_CONFIG. Only keys marked live are taken: no path, no address, nothing that could write
// elsewhere (CVE-2023-33246). A request with one bad key changes nothing.
func (b *Broker) updateConfig(text []byte) error {
	b.config.mu.Lock()
	defer b.config.mu.Unlock()
	next := b.config.config
	taken, others, err := keyTable.Update(&next, text, mayUpdate)
	if err != nil {
		return err
	}
	kept, unknown, err := next.keep(others)
	if err != nil {
		return err
	}
	for _, s := range unknown {
		b.log.Warn("unknown setting in an update is ignored", "key", s.Key)
	}
	if err := b.writeConfig(append(taken, kept...)); err != nil {
		return err
	}
	reregister := next.Permission != b.config.config.Permission
	b.config.config = next
	b.config.version = b.config.version.Next(0, time.Now().UnixMilli())
	b.processor.SetSettings(processorSettings(next, b.Addr.Addr()))
	b.store.SetRetention(next.rules())
	if b.timer != nil {
		b.timer.Pause(next.TimerStopEnqueue, next.TimerStopDequeue)
	}
	next.applyLogLevel()
	b.topics.SetAutoCreate(next.AutoCreateTopic)
	b.groups.SetAutoCreate(next.AutoCreateGroup)
	if reregister {
		b.register.Changed()
	}
	return nil
}

// mayUpdate refuses a key that a request may not set. Of keys that have no effect, numbers and switches may be set, so that a tool
// reads back what it wrote; text may hold a path or a command, and may not. Apache: BrokerConfig.configBlackList.
func mayUpdate(name string) error {
	k, effective := keyTable[name]
	java, known := javaKeys()[name]
	switch {
	case effective && k.Live:
		return nil
	case effective:
		return &codec.Refusal{Code: codec.NoPermission, Remark: name + " takes effect at the start only: set it in broker.conf and start the broker again"}
	case known && java.kind == "text":
		return codec.ErrBlackList
	}
	return nil
}

// writeConfig keeps what was changed in the file the broker was started with, if there was one: the lines of changed keys
// are replaced, new keys go to the end, everything else stays as it is.
func (b *Broker) writeConfig(changes []codec.Setting) error {
	path := b.config.config.File
	if path == "" || len(changes) == 0 {
		return nil
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("update the settings: %w", err)
	}
	text, err := codec.ReplaceSettings(old, changes)
	if err != nil {
		return fmt.Errorf("update %s: %w", path, err)
	}
	return replaceFile(path, text)
}

// replaceFile writes a file so that a crash leaves the old or the new one.
func replaceFile(path string, data []byte) error {
	temp := path + ".tmp"
	mode := os.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm() // a file that others may not read stays so
	}
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return fmt.Errorf("write the settings: %w", err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return fmt.Errorf("write the settings: %w", err)
	}
	return nil
}
