package broker

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

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

// readConfig answers GET_BROKER_CONFIG: every key that has an effect here, one key=value a line.
func (b *Broker) readConfig() ([]byte, codec.DataVersion) {
	b.config.mu.Lock()
	defer b.config.mu.Unlock()
	return []byte(b.config.config.Text()), b.config.version
}

// updateConfig serves UPDATE_BROKER_CONFIG. Only keys marked live are taken: no path, no address, nothing that could write
// elsewhere (CVE-2023-33246). A request with one bad key changes nothing.
func (b *Broker) updateConfig(text []byte) error {
	settings, err := codec.ParseSettings(text)
	if err != nil {
		return err
	}
	b.config.mu.Lock()
	defer b.config.mu.Unlock()
	next := b.config.config
	known := knownJavaKeys()
	var applied []codec.Setting
	for _, s := range settings {
		k, ok := keyTable[s.Key]
		switch {
		case ok && !k.live, !ok && isBlackListed(s.Key):
			return &codec.Refusal{Code: codec.NoPermission, Remark: "Can not update config in black list."}
		case ok:
			if err := k.set(&next, s.Value); err != nil {
				return fmt.Errorf("%s=%s: %w", s.Key, s.Value, err)
			}
			if strings.ContainsFunc(s.Value, unicode.IsControl) {
				return fmt.Errorf("%s: control characters in the value", s.Key)
			}
			applied = append(applied, s)
		case !known[s.Key]:
			b.log.Warn("unknown setting in an update is ignored", "key", s.Key)
		}
	}
	if err := b.writeConfig(applied); err != nil {
		return err
	}
	reregister := next.Permission != b.config.config.Permission
	b.config.config = next
	b.config.version = b.config.version.Next(0, time.Now().UnixMilli())
	b.processor.SetSettings(processorSettings(next, b.Addr.Addr()))
	b.topics.SetAutoCreate(next.AutoCreateTopic)
	b.groups.SetAutoCreate(next.AutoCreateGroup)
	if reregister {
		b.register.Changed()
	}
	return nil
}

// isBlackListed names the keys outside keyTable that no request may set. Apache: BrokerConfig.configBlackList.
func isBlackListed(name string) bool {
	switch name {
	case "configBlackList", "brokerConfigPath", "rocketmqHome", "messageStorePlugIn":
		return true
	}
	return false
}

// writeConfig keeps what was changed in the file the broker was started with, if there was one: the lines of changed keys
// are replaced, new keys go to the end, everything else stays as it is.
func (b *Broker) writeConfig(settings []codec.Setting) error {
	path := b.config.config.File
	if path == "" || len(settings) == 0 {
		return nil
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("update the settings: %w", err)
	}
	lines := bytes.Split(bytes.TrimRight(old, "\n"), []byte{'\n'})
	before, err := codec.ParseSettings(old)
	if err != nil {
		return fmt.Errorf("update %s: %w", path, err)
	}
	at := make(map[string]int, len(before))
	for _, s := range before {
		at[s.Key] = s.Line
	}
	for _, s := range settings {
		line := []byte(s.Key + "=" + s.Value)
		if n := at[s.Key]; n > 0 {
			lines[n-1] = line
		} else {
			lines = append(lines, line)
		}
	}
	return replaceFile(path, append(bytes.Join(lines, []byte{'\n'}), '\n'))
}

// replaceFile writes a file so that a crash leaves the old or the new one.
func replaceFile(path string, data []byte) error {
	temp := path + ".tmp"
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
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
