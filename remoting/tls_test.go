package remoting

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/youmark/pkcs8"

	"github.com/apogee-mq/apogee/codec"
)

// testCA issues the certificates of a test.
type testCA struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newCA(t testing.TB) *testCA {
	ca := &testCA{t: t, dir: t.TempDir()}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour * 24 * 365), BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	var der []byte
	var err error
	ca.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err = x509.CreateCertificate(rand.Reader, template, template, &ca.key.PublicKey, ca.key)
	require.NoError(t, err)
	ca.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	ca.file = ca.write("ca.pem", "CERTIFICATE", der)
	return ca
}

func (ca *testCA) write(name, kind string, der []byte) string {
	path := filepath.Join(ca.dir, name)
	require.NoError(ca.t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return path
}

// issue writes name.pem and name.key, the key encrypted when there is a password.
func (ca *testCA) issue(name, password string, expires time.Time) (cert, key string) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(ca.t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: expires,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &k.PublicKey, ca.key)
	require.NoError(ca.t, err)
	kind := "PRIVATE KEY"
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if password != "" {
		kind = "ENCRYPTED PRIVATE KEY"
		keyDER, err = pkcs8.MarshalPrivateKey(k, []byte(password), nil)
	}
	require.NoError(ca.t, err)
	return ca.write(name+".pem", "CERTIFICATE", der), ca.write(name+".key", kind, keyDER)
}

func openTLS(t testing.TB, opts TLSOptions, log *slog.Logger) *TLS {
	tt, err := OpenTLS(opts, log)
	require.NoError(t, err)
	return tt
}

// serveTLS opens a server with the certificate of the test mode.
func serveTLS(t testing.TB, mode TLSMode, entries []Entry, change func(*Options)) *Server {
	return serve(t, entries, func(o *Options) {
		o.TLS = openTLS(t, TLSOptions{Mode: mode, TestMode: true}, o.Logger)
		if change != nil {
			change(o)
		}
	})
}

func dialTLS(t testing.TB, s *Server, config *tls.Config) (*rawConn, error) {
	nc, err := net.Dial("tcp", s.Addrs()[0].String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	tc := tls.Client(nc, config)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return &rawConn{t: t, Conn: tc, r: bufio.NewReaderSize(tc, 64<<10)}, tc.HandshakeContext(ctx)
}

func mustDialTLS(t testing.TB, s *Server) *rawConn {
	c, err := dialTLS(t, s, &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	return c
}

func TestPermissiveServesBoth(t *testing.T) {
	t.Parallel()
	s := serveTLS(t, TLSPermissive, nil, nil)
	for _, c := range []*rawConn{dial(t, s), mustDialTLS(t, s), mustDialTLS(t, s)} {
		for _, size := range []int{0, 1, 100, 16 << 10, 1 << 20, 10 << 20} {
			body := strings.Repeat("x", size)
			c.send(request(codeEcho, 1, body), request(codePooled, 2, body))
			for range 2 {
				require.Equal(t, size, len(c.receive().Body))
			}
		}
	}
	require.Equal(t, int64(2), s.Metrics().TLSConns)
	require.Equal(t, 3, s.Conns())
}

// Frames in records of random sizes, written in random pieces, are the frames that were sent.
func TestFramesInRecordsOfAllSizes(t *testing.T) {
	t.Parallel()
	s := serveTLS(t, TLSEnforcing, nil, nil)
	random := mrand.New(mrand.NewPCG(1, 2))
	for range 4 {
		c := mustDialTLS(t, s)
		var all []byte
		var want []int
		for i := range 300 {
			n := random.IntN(5000)
			if i%50 == 0 {
				n = random.IntN(400_000)
			}
			want = append(want, n)
			all = append(all, request(codeEcho, int32(i), string(bytes.Repeat([]byte{byte(i)}, n)))...)
		}
		go func() {
			for len(all) > 0 {
				n := min(len(all), 1+random.IntN(20_000))
				if _, err := c.Write(all[:n]); err != nil {
					return
				}
				all = all[n:]
			}
		}()
		for i, n := range want {
			got := c.receive()
			require.Equal(t, int32(i), got.Opaque)
			require.True(t, bytes.Equal(bytes.Repeat([]byte{byte(i)}, n), got.Body), "answer %d", i)
		}
	}
}

func TestEnforcingRefusesPlainFramesBeforeTheyAreParsed(t *testing.T) {
	t.Parallel()
	var ran atomic.Int32
	log := new(logLines)
	s := serveTLS(t, TLSEnforcing, []Entry{{Code: 1000, Inline: true, Handler: func(*Request) (*codec.Command, error) {
		ran.Add(1)
		return nil, nil
	}}}, func(o *Options) { o.Logger = log.logger() })
	const n = 20
	for range n {
		c := dial(t, s)
		_, _ = c.Write(oneway(1000, 1, "")) // the server may have hung up
		c.receiveEnd()
	}
	eventually(t, "all are closed", func() bool { return s.Metrics().PlainRefused == n && s.Conns() == 0 })
	require.Zero(t, ran.Load())
	require.Zero(t, s.Metrics().Frames)
	require.Equal(t, 1, strings.Count(log.String(), "tls.server.mode=enforcing"), "once for each address:\n%s", log.String())
	c := mustDialTLS(t, s)
	c.send(request(codeEcho, 1, "a"))
	require.Equal(t, "a", string(c.receive().Body))
}

func TestDisabledClosesTLS(t *testing.T) {
	t.Parallel()
	log := new(logLines)
	s := serveTLS(t, TLSDisabled, nil, func(o *Options) { o.Logger = log.logger() })
	for range 3 {
		_, err := dialTLS(t, s, &tls.Config{InsecureSkipVerify: true})
		require.Error(t, err)
	}
	c := dial(t, s)
	c.send(request(codeEcho, 1, "a"))
	require.Equal(t, "a", string(c.receive().Body))
	eventually(t, "said once", func() bool { return strings.Count(log.String(), "tls.server.mode=disabled") == 1 })
}

// What is no handshake, or only half of one, ends by itself and holds up nobody.
func TestBadHandshakes(t *testing.T) {
	t.Parallel()
	log := new(logLines)
	s := serveTLS(t, TLSPermissive, nil, func(o *Options) {
		o.HandshakeTimeout, o.Logger = 300*time.Millisecond, log.logger()
	})
	hello := make(chan []byte, 1)
	front, back := net.Pipe()
	go func() { _ = tls.Client(front, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
	go func() {
		b := make([]byte, 4096)
		n, _ := back.Read(b)
		_ = back.Close()
		hello <- b[:n]
	}()
	whole := receives(t, "client hello", hello)
	for name, b := range map[string][]byte{
		"one byte":        {firstByteTLS},
		"half a hello":    whole[:len(whole)/2],
		"silence after":   whole,
		"garbage":         append([]byte{firstByteTLS, 3, 1, 0, 100}, bytes.Repeat([]byte{0xAA}, 100)...),
		"no version":      append([]byte{firstByteTLS}, bytes.Repeat([]byte{0xFF}, 100)...),
		"too long":        append([]byte{firstByteTLS, 3, 1, 0xFF, 0xFF}, make([]byte, 1<<20)...),
		"hello and plain": append(bytes.Clone(whole), request(codeEcho, 1, "")...),
	} {
		c := dial(t, s)
		_, _ = c.Write(b)
		c.receiveClose(name)
	}
	eventually(t, "all are counted", func() bool { return s.Metrics().TLSFailed == 7 })
	require.Contains(t, log.String(), "remoting: TLS: ")
	c := mustDialTLS(t, s)
	c.send(request(codeEcho, 1, "a"))
	c.receive()
}

func TestClientsAreAuthenticated(t *testing.T) {
	t.Parallel()
	ca, strange := newCA(t), newCA(t)
	year := time.Now().Add(365 * 24 * time.Hour)
	cert, key := ca.issue("server", "secret", year)
	config := func(ca *testCA, name string, expires time.Time) *tls.Config {
		cert, key := ca.issue(name, "", expires)
		pair, err := tls.LoadX509KeyPair(cert, key)
		require.NoError(t, err)
		return &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}
	}
	good, other, old := config(ca, "good", year), config(strange, "other", year), config(ca, "old", time.Now().Add(-time.Hour))
	none := &tls.Config{InsecureSkipVerify: true}
	for _, tt := range []struct {
		auth              string
		verify            bool
		good, other, none bool
		said              string
	}{
		{auth: "none", verify: true, good: true, other: true, none: true},
		{auth: "optional", good: true, other: true, none: true},
		{auth: "optional", verify: true, good: true, none: true, said: "unknown authority"},
		{auth: "require", good: true, other: true, said: "client didn't provide a certificate"},
		{auth: "require", verify: true, good: true, said: "certificate has expired"},
	} {
		t.Run(tt.auth, func(t *testing.T) {
			log := new(logLines)
			s := serve(t, nil, func(o *Options) {
				now := time.Now()
				o.Now = func() time.Time { now = now.Add(noticePeriod); return now } // every failure is logged
				o.IdleTimeout = 1000 * time.Hour
				o.Logger = log.logger()
				o.Loops = 1
				o.TLS = openTLS(t, TLSOptions{Mode: TLSEnforcing, ServerCert: cert, ServerKey: key, ServerKeyPassword: "secret",
					ClientAuth: tt.auth, AuthClient: tt.verify, ServerTrust: ca.file}, o.Logger)
			})
			works := func(config *tls.Config) bool {
				c, err := dialTLS(t, s, config)
				if err != nil {
					return false
				}
				_, _ = c.Write(request(codeEcho, 1, "a"))
				_, err = c.tryReceive()
				return err == nil
			}
			require.Equal(t, tt.good, works(good))
			require.Equal(t, tt.other, works(other))
			require.Equal(t, tt.none, works(none))
			if tt.verify && tt.auth == "require" {
				require.False(t, works(old))
			}
			if tt.said != "" {
				eventually(t, "it is said why", func() bool { return strings.Contains(log.String(), tt.said) })
			}
		})
	}
}

// A certificate is asked for after the client's side of the handshake is over: the first call fails, and says why.
func TestCallSaysWhyTheServerRefused(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	cert, key := ca.issue("server", "", time.Now().Add(365*24*time.Hour))
	log := new(logLines)
	s := serve(t, nil, func(o *Options) {
		o.TLS = openTLS(t, TLSOptions{Mode: TLSEnforcing, ServerCert: cert, ServerKey: key, ClientAuth: "require"}, log.logger())
	})
	require.Contains(t, log.String(), "expired ones too")
	opts := DefaultClientOptions()
	opts.Dial = openTLS(t, TLSOptions{Client: true, TestMode: true}, opts.Logger).Dial(opts.Dial)
	cl := NewClient(opts)
	defer cl.Close()
	eventually(t, "the alert arrives before the connection is reset", func() bool {
		_, err := cl.Call(context.Background(), s.Addrs()[0].String(), &codec.Command{Code: codeEcho})
		require.Error(t, err)
		return strings.Contains(err.Error(), "certificate required")
	})
}

func TestClientVerifiesTheServer(t *testing.T) {
	t.Parallel()
	ca, strange := newCA(t), newCA(t)
	cert, key := ca.issue("server", "", time.Now().Add(time.Hour*24*365))
	oldCert, oldKey := ca.issue("old", "", time.Now().Add(-time.Hour))
	call := func(cert, key string, opts TLSOptions) error {
		log := new(logLines)
		s := serve(t, nil, func(o *Options) {
			o.TLS = openTLS(t, TLSOptions{Mode: TLSEnforcing, ServerCert: cert, ServerKey: key}, log.logger())
		})
		opts.Mode, opts.Client = TLSDisabled, true
		client := DefaultClientOptions()
		client.Dial = openTLS(t, opts, client.Logger).Dial(client.Dial)
		cl := NewClient(client)
		defer cl.Close()
		_, err := cl.Call(context.Background(), s.Addrs()[0].String(), &codec.Command{Code: codeEcho})
		return err
	}
	require.NoError(t, call(cert, key, TLSOptions{TestMode: true}))
	require.NoError(t, call(cert, key, TLSOptions{}))
	require.NoError(t, call(cert, key, TLSOptions{AuthServer: true, ClientTrust: ca.file}))
	require.NoError(t, call(oldCert, oldKey, TLSOptions{}))
	require.ErrorContains(t, call(cert, key, TLSOptions{AuthServer: true, ClientTrust: strange.file}), "unknown authority")
	require.ErrorContains(t, call(oldCert, oldKey, TLSOptions{AuthServer: true, ClientTrust: ca.file}), "certificate has expired")
}

func TestChangedCertificatesAreShown(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	year := time.Now().Add(365 * 24 * time.Hour)
	cert, key := ca.issue("server", "", year)
	log := new(logLines)
	var store *TLS
	s := serve(t, nil, func(o *Options) {
		store = openTLS(t, TLSOptions{Mode: TLSPermissive, ServerCert: cert, ServerKey: key}, log.logger())
		store.period = 5 * time.Millisecond
		o.TLS = store
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); store.Watch(ctx) }()
	defer func() { stop(); <-done }()
	serial := func() *big.Int {
		c := mustDialTLS(t, s)
		return c.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber
	}
	first, stays := serial(), mustDialTLS(t, s)
	require.NoError(t, os.WriteFile(cert, []byte("no certificate"), 0o600))
	eventually(t, "the log says why", func() bool { return strings.Contains(log.String(), "last good ones stay") })
	require.Contains(t, log.String(), cert)
	require.Equal(t, first, serial())
	ca.issue("server", "", year)
	eventually(t, "the new one is shown", func() bool { return serial().Cmp(first) != 0 })
	stays.send(request(codeEcho, 1, "open connections go on"))
	stays.receive()
}

func TestSettingsOfTLSThatCannotWork(t *testing.T) {
	t.Parallel()
	ca, other := newCA(t), newCA(t)
	year := time.Now().Add(365 * 24 * time.Hour)
	cert, key := ca.issue("server", "secret", year)
	_, strangeKey := other.issue("server", "", year)
	for _, tt := range []struct {
		name string
		opts TLSOptions
		want string
	}{
		{"no certificate", TLSOptions{}, "tls.server.certPath"},
		{"no such file", TLSOptions{ServerCert: "/none", ServerKey: key}, "/none"},
		{"no password", TLSOptions{ServerCert: cert, ServerKey: key}, "no password is set"},
		{"wrong password", TLSOptions{ServerCert: cert, ServerKey: key, ServerKeyPassword: "x"}, "cannot be decrypted"},
		{"another's key", TLSOptions{ServerCert: cert, ServerKey: strangeKey}, "private key does not match"},
		{"no trusted ones", TLSOptions{ServerCert: cert, ServerKey: key, ServerKeyPassword: "secret", AuthClient: true, ServerTrust: key}, "no certificate in PEM"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.opts.Mode = TLSPermissive
			_, err := OpenTLS(tt.opts, slog.New(slog.DiscardHandler))
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestTLSSettingsComeFromEverywhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tls.properties")
	require.NoError(t, os.WriteFile(file, []byte("tls.test.mode.enable=false\ntls.server.certPath=/file/cert\ntls.server.keyPath=/file/key\n"+
		"tls.server.mode=disabled\ntls.server.need.client.auth=REQUIRE\n"), 0o600))
	t.Setenv("JAVA_OPT_EXT", `-Xmx1g "-Dtls.server.mode=enforcing" -Dtls.server.certPath=/env/cert -Dtls.client.certPath=/env/client`)
	t.Setenv("tls.config.file", file)
	var s TLSSettings
	require.NoError(t, s.Set("tls.server.keyPath", "/given/key"))
	require.NoError(t, s.Set("tls.server.keyPassword", "secret"))
	o, err := s.Options()
	require.NoError(t, err)
	require.Equal(t, TLSOptions{Mode: TLSEnforcing, Client: true, ClientAuth: "require", ServerCert: "/file/cert", ServerKey: "/given/key",
		ServerKeyPassword: "secret", ClientCert: "/env/client"}, o)
	require.NoError(t, s.Set("useTLS", "false"))
	o, err = s.Options()
	require.NoError(t, err)
	require.False(t, o.Client)
	require.Error(t, s.Set("tls.server.mode", "sometimes"))
	require.Error(t, s.Set("tls.server.colour", "blue"))
	keys := TLSKeys(func(s *TLSSettings) *TLSSettings { return s })
	require.NotContains(t, keys["tls.server.keyPassword"].Get(&s), "secret")
	require.Equal(t, "enforcing", keys["tls.server.mode"].Get(&s))
	require.NoError(t, os.WriteFile(file, []byte("tls.server.need.client.auth=maybe\n"), 0o600))
	_, err = s.Options()
	require.ErrorContains(t, err, file+":1")
}

func TestSlowReaderOverTLSIsDropped(t *testing.T) {
	t.Parallel()
	conns := make(chan Conn, 2)
	s := serveTLS(t, TLSEnforcing, []Entry{{Code: 1000, Inline: true, Handler: func(req *Request) (*codec.Command, error) {
		conns <- req.Conn
		return req.Response(0), nil
	}}}, func(o *Options) { o.SoftUnsentBytes, o.MaxConnUnsentBytes = 1<<20, 8<<20 })
	slow := mustDialTLS(t, s)
	slow.send(request(1000, 1, ""))
	slow.receive()
	conn := receives(t, "connection", conns)
	for i, err := 0, error(nil); err == nil; i++ {
		require.Less(t, i, 1000)
		err = conn.Send(&codec.Command{Code: 1, Flag: codec.FlagOneway, Body: make([]byte, 1<<20)})
		require.LessOrEqual(t, s.Metrics().UnsentBytes, int64(24<<20))
	}
	eventually(t, "dropped", func() bool { return s.Metrics().ClosedSlow == 1 && conn.Closed() })
}

// A server that closes in the middle of handshakes leaves no goroutine of them behind: Close waits for them.
func TestCloseEndsHandshakes(t *testing.T) {
	t.Parallel()
	s := serveTLS(t, TLSPermissive, nil, nil)
	for range 50 {
		_, err := dial(t, s).Write([]byte{firstByteTLS, 3, 1})
		require.NoError(t, err)
	}
	eventually(t, "all have begun", func() bool { return len(s.shaking) == 50 })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, s.Close(ctx))
	require.Empty(t, s.shaking)
	require.Empty(t, s.working)
}

// TestIdleConnectionsAreSmall is not parallel: it counts the bytes of the process. The clients are in it, too, without a buffer.
func TestIdleConnectionsAreSmall(t *testing.T) {
	const n = 500
	for name, limit := range map[string]int{"plain": 6 << 10, "TLS": 40 << 10} {
		s := serveTLS(t, TLSPermissive, nil, nil)
		memory := func() int {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int(m.HeapInuse + m.StackInuse)
		}
		var open []net.Conn
		one := func() {
			nc, err := net.Dial("tcp", s.Addrs()[0].String())
			require.NoError(t, err)
			if name == "TLS" {
				nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
			}
			_, err = nc.Write(request(codeEcho, 1, "heartbeat"))
			require.NoError(t, err)
			_, err = nc.Read(make([]byte, 1024))
			require.NoError(t, err)
			open = append(open, nc)
		}
		for range 20 {
			one()
		}
		goroutines, before := runtime.NumGoroutine(), memory()
		for range n {
			one()
		}
		perConn := (memory() - before) / n
		t.Logf("%s: %d bytes a connection, its client included", name, perConn)
		require.Less(t, perConn, limit)
		eventually(t, "no goroutine for a connection", func() bool { return runtime.NumGoroutine() <= goroutines+5 })
		for _, nc := range open {
			_ = nc.Close()
		}
	}
}

func BenchmarkEchoInlineTLS1KiB(b *testing.B) {
	s := serveTLS(b, TLSPermissive, nil, nil)
	c := mustDialTLS(b, s)
	burst := bytes.Repeat(request(codeEcho, 1, string(make([]byte, 1024))), 32)
	in := make([]byte, len(burst)*2)
	b.ReportAllocs()
	b.SetBytes(int64(len(burst) / 32))
	c.send(burst)
	n, err := io.ReadAtLeast(c.r, in, 32*1000)
	require.NoError(b, err)
	for c.r.Buffered() > 0 {
		m, _ := c.r.Read(in[n:])
		n += m
	}
	size := n
	for i := 0; i < b.N; i += 32 {
		c.send(burst)
		_, err := io.ReadFull(c.r, in[:size])
		require.NoError(b, err)
	}
}
