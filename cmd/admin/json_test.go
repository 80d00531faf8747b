package admin

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestJSONIsAsDocumented holds the JSON of each recorded command against its row in JSON.md.
func TestJSONIsAsDocumented(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("JSON.md")
	require.NoError(t, err)
	documented := map[string][]string{}
	for line := range strings.Lines(string(file)) {
		if cells := strings.Split(line, "|"); len(cells) == 4 && strings.HasPrefix(line, "| `") {
			name, _, _ := strings.Cut(strings.Trim(cells[1], " `"), " ")
			documented[name] = append(documented[name], strings.Trim(cells[2], " `"))
		}
	}
	list := filepath.Join(t.TempDir(), "topics.json")
	for _, c := range conversations(t) {
		args := words(strings.ReplaceAll(c.Command, "/opt/rmq/adm/topics.json", list))
		if c.Failed || c.Stdout == "" || args[0] == "clusterRT" || args[0] == "checkRocksdbCqWriteProgress" {
			continue
		}
		if args[0] == "updateTopicList" {
			c.writeTopicList(t, list)
		}
		server := &recordedServer{t: t, c: c, silent: true}
		got, err := runAgainst(t, server.dial, append(args, "--output", "json")...)
		require.NoError(t, err, c.Name)
		require.Contains(t, documented[args[0]], shape(t, got), "%s: %s", c.Command, got)
	}
}

// shape is what a JSON value looks like: the names of its members, or of those of its first element.
func shape(t *testing.T, text string) string {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	token, err := dec.Token()
	require.NoError(t, err, text)
	if token == json.Delim('[') {
		if !dec.More() {
			return "[]"
		}
		var first json.RawMessage
		require.NoError(t, dec.Decode(&first))
		return "[" + shape(t, string(first)) + "]"
	}
	if token != json.Delim('{') {
		return "text"
	}
	var names []string
	for dec.More() {
		name, err := dec.Token()
		require.NoError(t, err)
		names = append(names, name.(string))
		var value json.RawMessage
		require.NoError(t, dec.Decode(&value))
	}
	return "{" + strings.Join(names, ", ") + "}"
}
