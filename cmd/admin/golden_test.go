package admin

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC // the recorded times are UTC
	os.Exit(run(m))
}

// run gives the commands that write to the folder of temporary files one of their own.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "mqadmin")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	os.Setenv("TMPDIR", dir)
	return m.Run()
}

// conversation is one run of Apache's mqadmin 5.4.0 against Apache's servers: what it asked, what it was answered, what it printed.
type conversation struct {
	Name, Command, Stdout string
	Failed                bool
	Exchanges             []exchange
}

type exchange struct {
	Code              int32
	Request, Response []byte

	fields map[string]string
	body   string
	used   bool
}

func conversations(t *testing.T) []*conversation {
	t.Helper()
	file, err := os.Open("testdata/mqadmin.jsonl.gz")
	require.NoError(t, err)
	defer file.Close()
	unpacked, err := gzip.NewReader(file)
	require.NoError(t, err)
	var all []*conversation
	for dec := json.NewDecoder(unpacked); ; {
		var c conversation
		err := dec.Decode(&c)
		if err == io.EOF {
			return all
		}
		require.NoError(t, err)
		for i := range c.Exchanges {
			var cmd codec.Command
			require.NoError(t, codec.ParseFrame(c.Exchanges[i].Request, &cmd))
			c.Exchanges[i].fields, c.Exchanges[i].body = fieldsOf(&cmd), string(cmd.Body)
		}
		all = append(all, &c)
	}
}

func fieldsOf(c *codec.Command) map[string]string {
	fields := map[string]string{}
	for it := c.Fields(); it.Next(); {
		fields[string(it.Key)] = string(it.Value)
	}
	return fields
}

// unlike are fields which differ between Apache's tool and ours on purpose, or from run to run.
var unlike = map[string]bool{"acceptStandardJsonOnly": true, "force": true, "checkStoreTime": true}

// bornNow is what a body has of the time of a run.
var bornNow = regexp.MustCompile(`"epoch":\d+`)

// unlikeCommands are conversations that are not compared, with the reason.
var unlikeCommands = map[string]string{
	"401-clusterList":             "what the slave answered was not recorded",
	"allocateMQ":                  "Apache's command shares the queues in the order of a hash table, clients and ours in their own",
	"clusterRT":                   "it goes on until it is stopped",
	"checkRocksdbCqWriteProgress": "Apache's command of 5.4.0 takes the time from elsewhere",
}

// recordedServer answers every address as the servers of a conversation did.
type recordedServer struct {
	t      *testing.T
	mu     sync.Mutex
	c      *conversation
	silent bool // says nothing of requests that differ
}

// dial connects to the server, whatever the address.
func (r *recordedServer) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go r.serve(theirs)
	return ours, nil
}

func (r *recordedServer) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		head, err := in.Peek(8)
		if err != nil {
			return
		}
		size, err := codec.FrameLen(head)
		if err != nil {
			return
		}
		frame := make([]byte, size)
		if _, err := io.ReadFull(in, frame); err != nil {
			return
		}
		var req, resp codec.Command
		if codec.ParseFrame(frame, &req) != nil {
			return
		}
		if answer := r.answer(&req); answer == nil || codec.ParseFrame(answer, &resp) != nil {
			resp = codec.Command{Code: 3, Remark: "not in the conversation", Flag: codec.FlagResponse}
		}
		for it := resp.Fields(); it.Next(); {
			resp.Extra = append(resp.Extra, codec.Field{Key: string(it.Key), Value: string(it.Value)})
		}
		resp.Opaque = req.Opaque
		if _, err := conn.Write(codec.AppendFrame(nil, &resp)); err != nil {
			return
		}
	}
}

// answer finds the recorded request that a request is, or the one of its code that is most like it.
func (r *recordedServer) answer(req *codec.Command) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := fieldsOf(req)
	var best *exchange
	most := -1
	for i := range r.c.Exchanges {
		e := &r.c.Exchanges[i]
		if e.Code != req.Code {
			continue
		}
		same := 0
		for k, v := range e.fields {
			if got[k] == v {
				same += 2
			}
		}
		if !e.used {
			same++
		}
		if same > most {
			best, most = e, same
		}
	}
	if best == nil {
		return nil
	}
	best.used = true
	if req.Code != codec.SendMessageV2 && !r.silent {
		for _, fields := range []map[string]string{got, best.fields} {
			maps.DeleteFunc(fields, func(key, _ string) bool { return unlike[key] })
		}
		if !maps.Equal(best.fields, got) || bornNow.ReplaceAllString(best.body, "") != bornNow.ReplaceAllString(string(req.Body), "") {
			r.t.Errorf("request %d: %v %s, Apache's tool sent %v %s", req.Code, got, req.Body, best.fields, best.body)
		}
	}
	return best.Response
}

// TestCommandsAskAndPrintAsApaches runs every recorded command line against what the servers answered then. The requests have to be
// those of Apache's tool, and so has the output; where Apache's printed an exception, ours fails with the same code.
func TestCommandsAskAndPrintAsApaches(t *testing.T) {
	t.Parallel()
	list := filepath.Join(t.TempDir(), "topics.json")
	for _, c := range conversations(t) {
		t.Run(c.Name, func(t *testing.T) {
			args := words(strings.ReplaceAll(c.Command, "/opt/rmq/adm/topics.json", list))
			if why := cmp.Or(unlikeCommands[c.Name], unlikeCommands[args[0]]); why != "" {
				t.Skip(why)
			}
			if args[0] == "updateTopicList" {
				c.writeTopicList(t, list)
			}
			if _, signed := c.Exchanges[0].fields["AccessKey"]; signed {
				args = append(args, "--accessKey", "fxadmin", "--secretKey", "fxSecret12345")
			}
			server := &recordedServer{t: t, c: c}
			got, err := runAgainst(t, server.dial, args...)
			if c.Failed {
				code, findErr := strconv.Atoi(regexp.MustCompile(`CODE: (\d+)`).FindStringSubmatch(c.Stdout)[1])
				require.NoError(t, findErr)
				require.Error(t, err)
				require.EqualValues(t, code, answered(err), "%v", err)
				return
			}
			if c.Stdout == "" {
				require.Error(t, err) // nothing found: Apache's tool prints nothing
				return
			}
			require.NoError(t, err)
			require.Equal(t, plain(args[0], c.Stdout), plain(args[0], got))
		})
	}
}

// writeTopicList writes the list that the recorded request had in its body.
func (c *conversation) writeTopicList(t *testing.T, path string) {
	var body codec.CreateTopicListBody
	require.NoError(t, codec.UnmarshalJSON([]byte(c.Exchanges[0].body), &body))
	b, err := codec.MarshalJSON(body.TopicConfigList)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

// words splits a command line; quotes hold blanks together.
func words(line string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`"([^"]*)"|(\S+)`).FindAllStringSubmatch(line, -1) {
		all = append(all, m[1]+m[2])
	}
	return all
}

// plainRules take out what depends on the time of a run or on the order of Java's hash tables.
var plainRules = []struct {
	commands string
	find     *regexp.Regexp
	with     string
}{
	{"clusterList", regexp.MustCompile(`(\d  )\d+\.\d\d +(\d\.\d{4} )`), "${1}hour  $2"},
	{"checkMsgSendRT sendMsgStatus", regexp.MustCompile(`\d+\.?\d*(\r?\n|ms)`), "N$1"},
	{"checkMsgSendRT", regexp.MustCompile(`Avg RT: .*`), "Avg RT"},
	{"checkMsgSendRT", regexp.MustCompile(`(?m)^(\S+ +)\d+( +true)`), "${1}queue$2"},
	{"updateStaticTopic", regexp.MustCompile(`file \S+/(\w+)-\d+`), "file $1"},
	{"sendMsgStatus", regexp.MustCompile(`[mM]sgId=\w+|queueId=\d+|queueOffset=\d+`), "X"},
}

func plain(command, text string) string {
	for _, r := range plainRules {
		if strings.Contains(" "+r.commands+" ", " "+command+" ") {
			text = r.find.ReplaceAllString(text, r.with)
		}
	}
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	slices.Sort(lines[min(1, len(lines)):])
	return strings.Join(lines, "\n")
}
