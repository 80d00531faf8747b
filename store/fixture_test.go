package store

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The directories under testdata were written by Apache RocketMQ 5.4.0: clean after a clean stop, crashed after a
// SIGKILL under load, truncated-tail with the second half of its last message zeroed. manifest.json.gz is what Apache's
// store reads from a copy of it.
const (
	fixtureClean     = "clean"
	fixtureCrashed   = "crashed"
	fixtureTruncated = "truncated-tail"

	fixtureIndexSlots   = 500
	fixtureIndexEntries = 2000
)

// unpackFixture unpacks the part of a directory below prefix ("" for all) and returns where it lies.
func unpackFixture(t testing.TB, name, prefix string) string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name, "store.tar.gz"))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	root := fastDir(t)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return filepath.Join(root, "store")
		}
		require.NoError(t, err)
		if h.Typeflag != tar.TypeReg || !strings.HasPrefix(h.Name, "store/"+prefix) {
			continue
		}
		path := filepath.Join(root, h.Name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		w, err := os.Create(path)
		require.NoError(t, err)
		_, err = io.Copy(w, r)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
}

// fixtureManifest is the part of a manifest that tests look at.
type fixtureManifest struct {
	CommitLogMinOffset, CommitLogMaxOffset int64
	ConsumeQueueEntryCount                 int
	OffsetByTimestamp                      []struct {
		Topic             string
		QueueID           int32
		Timestamp, Offset int64
		Boundary          string
	}
	ConsumeQueues map[string]struct {
		MinOffset, MaxOffset int64
		Entries              [][3]int64 `json:"entries_pos_size_tagsCode"`
	}
	KeyQueries []struct {
		Topic, Key       string
		MaxNum           int
		CommitLogOffsets []int64
	}
	Messages []fixtureMessage
}

type fixtureMessage struct {
	Topic, Keys, Tags, UniqKey string
	CommitLogOffset            int64
	StoreTimestamp             int64

	QueueID, Size, Magic, Flag, SysFlag, ReconsumeTimes   int32
	BodyCRC                                               uint32
	QueueOffset, BornTimestamp, PreparedTransactionOffset int64
	BornHost, StoreHost, OffsetMsgID, RawSHA256           string
}

func readManifest(t testing.TB, name string) *fixtureManifest {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name, "manifest.json.gz"))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	m := new(fixtureManifest)
	require.NoError(t, json.NewDecoder(z).Decode(m))
	return m
}
