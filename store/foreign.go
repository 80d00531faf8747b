package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// foreignPlace is a directory in which Apache's broker keeps something as RocksDB.
type foreignPlace struct {
	name  string // below the store directory
	holds string
	out   string // what the operator can do
	// always says that Apache's broker makes the directory only when it uses it; the others count when they hold data.
	always bool
}

// foreignPlaces are those of releases 5.1 to 5.4. `consumequeue` has the RocksDB files beside the topics' directories.
// Apache: ConsumeQueueRocksDBStorage, RocksDBConfigManager, ConfigStorage, MessageRocksDBStorage, PopConsumerService.
var foreignPlaces = []foreignPlace{
	{"consumequeue", "consume queues", outOfQueues, true},
	{"consumequeue_r", "consume queues", outOfQueues, true},
	{"config/topics", "topics", outOfConfig, true},
	{"config/subscriptionGroups", "subscription groups", outOfConfig, true},
	{"config/consumerOffsets", "consumer offsets", outOfConfig, true},
	{"config/metadata", "topics, groups and offsets", outOfConfig, true},
	{"config/rdb", "topics, groups and offsets (configManagerVersion=v2)", outOfConfig, true},
	{"rocksdbstore", "timer messages, transactions or index entries (timerRocksDBEnable, transRocksDBEnable, indexRocksDBEnable)",
		"let Apache's broker deliver and end them, then start it once without these keys and move the directory away", false},
	{"kvStore", "receipts of POP (popConsumerKVServiceEnable)",
		"let the consumers of Apache's broker acknowledge what they hold, then move the directory away", false},
}

const (
	outOfQueues = "move its RocksDB files away: queues are made anew from the commit log"
	outOfConfig = "export it with Apache's mqadmin rocksDBConfigToJson into the JSON files of config/, then move the directory away"
	outOfRaft   = "convert the group to a plain master with Apache's tools, or copy its messages over through a client"
)

// refuseForeign returns ErrForeign for a directory whose messages, queues or tables are kept in a way this store does not
// read. It touches nothing. logDirs are the directories of the commit log.
func refuseForeign(dir string, logDirs []string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("list store directory: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), "dledger-") {
			return fmt.Errorf("%w: %s holds a DLedger log; %s", ErrForeign, filepath.Join(dir, e.Name()), outOfRaft)
		}
	}
	for _, p := range foreignPlaces {
		path := filepath.Join(dir, p.name)
		if there, err := hasRocksDB(path, p.always); err != nil {
			return err
		} else if there {
			return fmt.Errorf("%w: %s holds %s as RocksDB; %s", ErrForeign, path, p.holds, p.out)
		}
	}
	for _, logDir := range logDirs {
		if err := refuseRaftLog(logDir); err != nil {
			return err
		}
	}
	return nil
}

// hasRocksDB reports whether dir holds a RocksDB database: any at all, or one with entries. An empty one has neither
// tables nor anything in its log.
func hasRocksDB(dir string, evenEmpty bool) (bool, error) {
	if _, err := os.Stat(filepath.Join(dir, "CURRENT")); err != nil {
		return false, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, fmt.Errorf("list %s: %w", dir, err)
	}
	if evenEmpty {
		return true, nil
	}
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".sst":
			return true, nil
		case ".log":
			if info, err := e.Info(); err == nil && info.Size() > 0 {
				return true, nil
			}
		}
	}
	return false, nil
}

// Head of a DLedger entry, big-endian, in front of each message of such a log. Apache: DLedgerEntryCoder.
//
//	0 magic 4 | 4 entry size 4 | 8 index 8 | 16 term 8 | 24 position 8 | 32 channel 4 | 36 chain CRC 4 | 40 body CRC 4 | 44 body size 4
const (
	raftHeadBytes = 48
	raftPosSize   = 4
	raftPosPos    = 24
	raftPosBody   = 44
	raftMagic     = 1
)

// refuseRaftLog returns ErrForeign when a file in dir begins with a DLedger entry.
func refuseRaftLog(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("list commit log: %w", err)
	}
	for _, e := range entries {
		base, ok := segmentBase(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		head, err := readHead(path, raftHeadBytes)
		if err != nil {
			return err
		}
		if isRaftEntry(head, base) {
			return fmt.Errorf("%w: %s holds DLedger entries; %s", ErrForeign, path, outOfRaft)
		}
	}
	return nil
}

func isRaftEntry(b []byte, base int64) bool {
	if len(b) < raftHeadBytes {
		return false
	}
	u32 := binary.BigEndian.Uint32
	return u32(b) == raftMagic && u32(b[raftPosSize:]) == u32(b[raftPosBody:])+raftHeadBytes &&
		int64(binary.BigEndian.Uint64(b[raftPosPos:])) == base
}

// readHead returns the first n bytes of a file, or fewer.
func readHead(path string, n int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, wrapFileError(OpRead, path, err)
	}
	defer f.Close()
	b := make([]byte, n)
	got, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, wrapFileError(OpRead, path, err)
	}
	return b[:got], nil
}
