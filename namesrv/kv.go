package namesrv

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// orderTopicNamespace is where `mqadmin updateOrderConf` keeps how many queues an ordered topic has on each broker.
const orderTopicNamespace = "ORDER_TOPIC_CONFIG"

// maxKVBytes bounds all keys and values together.
const maxKVBytes = 8 << 20

var errKVFull = fmt.Errorf("the key-value configuration holds %d bytes already", maxKVBytes)

// kvTable is the key-value configuration: namespace to key to value. It is written to its file at every change. Apache:
// KVConfigManager.
type kvTable struct {
	path string

	// saving orders the writing of the file; it is taken before mu, which is not held while a file is written.
	saving sync.Mutex

	// mu guards the fields below.
	mu    sync.RWMutex
	table map[string]map[string]string
	bytes int
}

// kvFile is kvConfig.json. Apache: KVConfigSerializeWrapper.
type kvFile struct {
	ConfigTable map[string]map[string]string `json:"configTable"`
}

// openKV reads the file at path, or its .bak when the file is missing or damaged. A damaged file is kept aside.
func openKV(path string, log *slog.Logger) (*kvTable, error) {
	t := &kvTable{path: path, table: make(map[string]map[string]string)}
	for _, name := range []string{path, path + ".bak"} {
		b, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read key-value configuration: %w", err)
		}
		var file kvFile
		if err := codec.UnmarshalJSON(b, &file); err != nil {
			aside := name + ".damaged"
			log.Error("key-value configuration is damaged and kept aside", "file", name, "aside", aside, "err", err)
			if err := os.Rename(name, aside); err != nil {
				return nil, fmt.Errorf("keep damaged configuration aside: %w", err)
			}
			continue
		}
		for namespace, table := range file.ConfigTable {
			t.table[namespace] = table
			for key, value := range table {
				t.bytes += len(key) + len(value)
			}
		}
		return t, nil
	}
	return t, nil
}

// get returns a value; false when there is none.
func (t *kvTable) get(namespace, key string) (string, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	value, ok := t.table[namespace][key]
	return value, ok
}

// list returns a namespace; false when there is none.
func (t *kvTable) list(namespace string) (map[string]string, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	table, ok := t.table[namespace]
	return maps.Clone(table), ok
}

// put sets a value; it is on the disk when put returns.
func (t *kvTable) put(namespace, key, value string) error {
	t.saving.Lock()
	defer t.saving.Unlock()
	if err := t.set(namespace, key, value); err != nil {
		return err
	}
	return t.save()
}

func (t *kvTable) set(namespace, key, value string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	table := t.table[namespace]
	grows := len(value)
	if old, ok := table[key]; ok {
		grows -= len(old)
	} else {
		grows += len(key)
	}
	if table == nil {
		grows += len(namespace)
	}
	if grows > 0 && t.bytes+grows > maxKVBytes {
		return errKVFull
	}
	if table == nil {
		table = make(map[string]string)
		t.table[namespace] = table
	}
	table[key] = value
	t.bytes += grows
	return nil
}

// remove takes a value out; the namespace stays, as in Java.
func (t *kvTable) remove(namespace, key string) error {
	t.saving.Lock()
	defer t.saving.Unlock()
	t.mu.Lock()
	value, ok := t.table[namespace][key]
	if ok {
		delete(t.table[namespace], key)
		t.bytes -= len(key) + len(value)
	}
	t.mu.Unlock()
	if !ok {
		return nil
	}
	return t.save()
}

// save writes the table to its file; saving is held.
func (t *kvTable) save() error {
	t.mu.RLock()
	b, err := codec.MarshalJSON(kvFile{t.table})
	t.mu.RUnlock()
	if err != nil {
		return err
	}
	return writeFile(t.path, b)
}

// writeFile replaces a file so that a crash or a full disk leaves the old or the new one, and keeps the old one as .bak.
func writeFile(path string, b []byte) error {
	if err := writeTemp(path, b); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if old, err := os.ReadFile(path); err == nil {
		if err := writeSynced(path+".bak", old, modeOf(path)); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	return renameTemp(path)
}

// replaceFile replaces a file so that a crash or a full disk leaves the old or the new one.
func replaceFile(path string, b []byte) error {
	if err := writeTemp(path, b); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return renameTemp(path)
}

// writeTemp writes what is to become the file at path beside it.
func writeTemp(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return writeSynced(path+".tmp", b, modeOf(path))
}

// renameTemp puts what writeTemp has written in the place of the file at path.
func renameTemp(path string) error {
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// modeOf keeps a file that others may not read so.
func modeOf(path string) os.FileMode {
	if info, err := os.Stat(path); err == nil {
		return info.Mode().Perm()
	}
	return 0o644
}

func writeSynced(path string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
