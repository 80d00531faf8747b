// Package bench is `apogee bench`: load for any RocketMQ server, with a client of its own so that the numbers are the server's,
// and a check that what was acknowledged can be read.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/apogee-mq/apogee/auth"
	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// Bounds of what one run may ask for.
const (
	maxConns    = 10_000
	maxWindow   = 4_096
	maxBody     = 4 << 20
	minBody     = headBytes
	maxMessages = 1 << 31
)

// load is what is asked for on the command line.
type load struct {
	namesrv string
	topic   string
	topics  int
	queues  int
	conns   int
	window  int
	size    int
	batch   int
	rate    int
	groups  int
	max     int64
	warmup  time.Duration
	length  time.Duration
	tick    time.Duration
	verify  bool
	lag     bool
	format  string
	series  string
	spread  string
	pid     int
	keys    [2]string // access key and secret key; nothing is signed without
	tls     bool
	trust   string // file of certificates
	dial    remoting.DialFunc

	out, progress io.Writer
}

// sign is what signs requests, nil without keys.
func (l *load) sign() func(*codec.Command) error {
	if l.keys[0] == "" {
		return nil
	}
	return auth.NewSigner(l.keys[0], l.keys[1], "").Sign
}

// Command returns the tree of commands. failed marks an error of a run as against a wrong command line.
func Command(failed func(error) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Put load on a RocketMQ server, Apogee or Apache's, and measure it",
		Long: `Put load on a RocketMQ server and measure it.

Latency of a closed loop (no --rate) is from the writing of a request to its answer. With --rate messages are due at fixed
times whatever the server does, and latency counts from when a message was due, so that a stall is paid by all that were due
in it. Connections use TLS with --tls or --tlsTrust, or where Apache's tools would: with -Dtls.enable=true in JAVA_OPT.

Every run makes topics of its own unless --topic names one that exists; they stay until they are deleted.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		workload("produce", "Send, closed loop or at a rate", failed, (*load).produce, produceFlags),
		workload("consume", "Pull a backlog, which is sent before", failed, (*load).consume, consumeFlags),
		workload("e2e", "Send at a rate and wait for each message to arrive at a consumer", failed, (*load).endToEnd, endToEndFlags),
	)
	return cmd
}

func workload(name, short string, failed func(error) error, run func(*load, context.Context) (*result, error), more func(*load, *cobra.Command)) *cobra.Command {
	l := &load{}
	cmd := &cobra.Command{
		Use:   name,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l.out, l.progress = cmd.OutOrStdout(), cmd.ErrOrStderr()
			if err := l.validate(); err != nil {
				return err
			}
			r, err := run(l, cmd.Context())
			if err != nil {
				return failed(err)
			}
			if err := r.write(l); err != nil {
				return failed(err)
			}
			if r.Check != nil && r.Check.Missing > 0 {
				return failed(fmt.Errorf("%d acknowledged messages could not be read back", r.Check.Missing))
			}
			return nil
		},
	}
	f := cmd.Flags()
	namesrv := os.Getenv("NAMESRV_ADDR")
	if namesrv == "" {
		namesrv = "127.0.0.1:9876"
	}
	f.StringVarP(&l.namesrv, "namesrvAddr", "n", namesrv, "name servers, separated by \";\"")
	f.StringVarP(&l.topic, "topic", "t", "", "topic that exists; the default makes new ones")
	f.IntVar(&l.topics, "topics", 4, "topics to make")
	f.IntVar(&l.queues, "queues", 8, "queues of each topic and broker")
	f.IntVarP(&l.conns, "connections", "c", 16, "connections that send")
	f.IntVarP(&l.size, "size", "s", 1024, fmt.Sprintf("bytes of a body, at least %d", minBody))
	f.IntVar(&l.batch, "batch", 1, "messages of one request")
	f.DurationVarP(&l.length, "duration", "d", 10*time.Second, "how long to measure")
	f.DurationVar(&l.warmup, "warmup", 2*time.Second, "how long to run before")
	f.DurationVar(&l.tick, "progress", time.Second, "a line of progress each; 0 for none")
	f.BoolVar(&l.verify, "verify", true, "read back every acknowledged message")
	f.StringVarP(&l.format, "output", "o", "text", "text, json or csv")
	f.StringVar(&l.series, "series", "", "file for a CSV line of each progress interval")
	f.StringVar(&l.spread, "histogram", "", "file for the whole distribution of latency, in HdrHistogram's format")
	f.IntVar(&l.pid, "pid", 0, "process of the server on this machine, whose CPU time and memory are shown (Linux)")
	f.StringVar(&l.keys[0], "accessKey", os.Getenv("APOGEE_ACCESS_KEY"), "user to sign requests for")
	f.StringVar(&l.keys[1], "secretKey", "", "the user's secret; better in the environment as APOGEE_SECRET_KEY")
	f.BoolVar(&l.tls, "tls", false, "use TLS, with any certificate of the server")
	f.StringVar(&l.trust, "tlsTrust", "", "use TLS and check the server's certificate with the authorities in this file")
	more(l, cmd)
	return cmd
}

func produceFlags(l *load, cmd *cobra.Command) {
	cmd.Flags().IntVarP(&l.window, "window", "w", 32, "requests in flight on each connection")
	cmd.Flags().IntVarP(&l.rate, "rate", "r", 0, "messages a second over all connections; 0 sends as fast as the window lets")
	cmd.Flags().BoolVar(&l.lag, "lag", false, fmt.Sprintf("ask brokers each %s how far their queues are behind the log, and show the most", lagEvery))
}

func consumeFlags(l *load, cmd *cobra.Command) {
	l.window, l.groups = 32, 1
	cmd.Flags().Int64Var(&l.max, "messages", 400_000, "messages of the backlog")
}

func endToEndFlags(l *load, cmd *cobra.Command) {
	l.window = maxWindow
	cmd.Flags().IntVarP(&l.rate, "rate", "r", 5_000, "messages a second over all connections")
	cmd.Flags().IntVar(&l.groups, "groups", 1, "consumer groups that each get every message")
}

// useTLS has connections use TLS when the flags, JAVA_OPT or the file of tls.config.file ask for it.
func (l *load) useTLS() error {
	settings, err := remoting.ClientTLS(l.tls, l.trust)
	if err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	opts := remoting.DefaultClientOptions()
	if err := opts.UseTLS(settings); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	l.dial = opts.Dial
	return nil
}

func (l *load) validate() error {
	if err := l.useTLS(); err != nil {
		return err
	}
	if l.keys[1] == "" {
		l.keys[1] = os.Getenv("APOGEE_SECRET_KEY")
	}
	if (l.keys[0] == "") != (l.keys[1] == "") {
		return errors.New("signing needs both --accessKey and --secretKey")
	}
	for _, bound := range []struct {
		flag         string
		value        int64
		least, bound int64
	}{
		{"topics", int64(l.topics), 1, 100_000}, {"queues", int64(l.queues), 1, 1024}, {"connections", int64(l.conns), 1, maxConns},
		{"window", int64(l.window), 1, maxWindow}, {"size", int64(l.size), minBody, maxBody}, {"batch", int64(l.batch), 1, 1024},
		{"rate", int64(l.rate), 0, 10_000_000}, {"messages", l.max, 0, maxMessages}, {"duration", int64(l.length), int64(100 * time.Millisecond), int64(24 * time.Hour)},
		{"warmup", int64(l.warmup), 0, int64(time.Hour)}, {"groups", int64(l.groups), 0, 64},
	} {
		if bound.value < bound.least || bound.value > bound.bound {
			return fmt.Errorf("--%s %d: want %d to %d", bound.flag, bound.value, bound.least, bound.bound)
		}
	}
	if l.size*l.batch > maxBody {
		return fmt.Errorf("--size %d times --batch %d: at most %d bytes in one request", l.size, l.batch, maxBody)
	}
	if !slices.Contains([]string{"text", "json", "csv"}, l.format) {
		return fmt.Errorf("--output %q: want text, json or csv", l.format)
	}
	return nil
}
