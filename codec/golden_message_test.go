package codec

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// goldenMessage is one line of testdata/messages/stored.jsonl, written by Apache's encoder and read by its decoder.
type goldenMessage struct {
	Name    string `json:"name"`
	Raw     []byte `json:"raw_b64"`
	Decoded struct {
		Topic                     string            `json:"topic"`
		QueueID                   int32             `json:"queueId"`
		QueueOffset               int64             `json:"queueOffset"`
		PhysOffset                int64             `json:"commitLogOffset"`
		SizeBytes                 int               `json:"size"`
		Magic                     int32             `json:"magic"`
		BodyCRC                   uint32            `json:"bodyCRC"`
		Flag                      int32             `json:"flag"`
		SysFlag                   int32             `json:"sysFlag"`
		BornTimestampMs           int64             `json:"bornTimestamp"`
		BornHost                  string            `json:"bornHost"`
		StoreTimestampMs          int64             `json:"storeTimestamp"`
		StoreHost                 string            `json:"storeHost"`
		ReconsumeTimes            int32             `json:"reconsumeTimes"`
		PreparedTransactionOffset int64             `json:"preparedTransactionOffset"`
		OffsetMsgID               string            `json:"offsetMsgId"`
		Properties                map[string]string `json:"properties"`
		BodyBytes                 int               `json:"bodyLength"`
		StoredBodyBytes           int               `json:"storedBodyLength"`
		StoredBodySHA256          string            `json:"storedBodySha256"`
	} `json:"decoded"`
}

func goldenMessages(t testing.TB) []goldenMessage {
	return readLines[goldenMessage](t, "messages/stored.jsonl")
}

// readTestdata reads a file of testdata, the content of one whose name ends in .gz.
func readTestdata(t testing.TB, name string) []byte {
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	if !strings.HasSuffix(name, ".gz") {
		return b
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	require.NoError(t, err)
	b, err = io.ReadAll(z)
	require.NoError(t, err)
	return b
}

// readLines reads a file of testdata with one JSON value a line.
func readLines[T any](t testing.TB, name string) []T {
	var all []T
	lines := bufio.NewScanner(bytes.NewReader(readTestdata(t, name)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v T
		require.NoError(t, json.Unmarshal(lines.Bytes(), &v))
		all = append(all, v)
	}
	require.NoError(t, lines.Err())
	require.NotEmpty(t, all)
	return all
}

// readJSON reads a file of testdata that is one JSON value.
func readJSON[T any](t testing.TB, name string) T {
	var v T
	require.NoError(t, json.Unmarshal(readTestdata(t, name), &v))
	return v
}
