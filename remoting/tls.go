package remoting

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/youmark/pkcs8"
)

const (
	// tlsWatchPeriod is the time between two looks at the files of certificates and keys. Apache: 500 ms.
	tlsWatchPeriod = time.Second
	// expiryNotice is how long before its end a certificate is announced in the log.
	expiryNotice = 14 * 24 * time.Hour
)

// TLS holds the certificates of a process, for its servers and for its clients, and follows their files. Apache: TlsHelper,
// FileWatchService.
type TLS struct {
	opts   TLSOptions
	log    *slog.Logger
	period time.Duration
	server atomic.Pointer[tls.Config] // nil with TLSDisabled
	client atomic.Pointer[tls.Config] // nil without Client
	own    *tls.Certificate           // of the test mode
	stamps []fileStamp                // of the files when they were last read; belongs to Watch
}

// fileStamp tells whether a file is another one than before.
type fileStamp struct {
	modified time.Time
	size     int64
	ok       bool
}

// OpenTLS reads what the options name. What cannot be used is an error that says which file and why.
func OpenTLS(opts TLSOptions, log *slog.Logger) (*TLS, error) {
	t := &TLS{opts: opts, log: log, period: tlsWatchPeriod}
	if opts.Mode != TLSDisabled && opts.TestMode {
		own, err := selfSigned(time.Now())
		if err != nil {
			return nil, fmt.Errorf("make the certificate of %s: %w", keyTLSTestMode, err)
		}
		t.own = own
		if opts.ServerCert != "" || opts.ServerKey != "" {
			log.Warn("the server shows a certificate signed by itself and not the configured one", "because", keyTLSTestMode+"=true", "certificate", opts.ServerCert)
		}
	}
	if opts.Mode != TLSDisabled && opts.ClientAuth == "require" && !opts.AuthClient && !opts.TestMode {
		log.Warn("clients have to show a certificate, and any is taken, expired ones too: they are verified with "+keyServerAuthClient+"=true", "setting", keyServerClientAuth+"=require")
	}
	t.stamps = t.stat()
	if err := t.Reload(); err != nil {
		return nil, err
	}
	return t, nil
}

// Mode is what the servers do with the first byte.
func (t *TLS) Mode() TLSMode { return t.opts.Mode }

// Reload reads the files again. After an error everything stays as it is. Connections that are open go on as they are.
func (t *TLS) Reload() error {
	var server, client *tls.Config
	var err error
	if t.opts.Mode != TLSDisabled {
		if server, err = t.serverConfig(); err != nil {
			return err
		}
	}
	if t.opts.Client {
		if client, err = t.clientConfig(); err != nil {
			return err
		}
	}
	t.server.Store(server)
	t.client.Store(client)
	return nil
}

// Watch reads the files again when they have changed, until ctx ends. A pair that cannot be used is told once, and the last good one
// stays.
func (t *TLS) Watch(ctx context.Context) {
	if len(t.files()) == 0 {
		return
	}
	ticker := time.NewTicker(t.period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		stamps := t.stat()
		if slices.Equal(stamps, t.stamps) {
			continue
		}
		t.stamps = stamps
		if err := t.Reload(); err != nil {
			t.log.Error("changed certificates cannot be used, the last good ones stay", "err", err)
			continue
		}
		t.log.Info("certificates are read again", "files", t.files())
	}
}

// files are those that are in use.
func (t *TLS) files() []string {
	var files []string
	o := &t.opts
	if o.Mode != TLSDisabled && !o.TestMode {
		files = append(files, o.ServerCert, o.ServerKey)
		if o.AuthClient {
			files = append(files, o.ServerTrust)
		}
	}
	if o.Client && !o.TestMode {
		files = append(files, o.ClientCert, o.ClientKey)
		if o.AuthServer {
			files = append(files, o.ClientTrust)
		}
	}
	return slices.DeleteFunc(files, func(f string) bool { return f == "" })
}

func (t *TLS) stat() []fileStamp {
	files := t.files()
	stamps := make([]fileStamp, len(files))
	for i, file := range files {
		if info, err := os.Stat(file); err == nil {
			stamps[i] = fileStamp{info.ModTime(), info.Size(), true}
		}
	}
	return stamps
}

func (t *TLS) serverConfig() (*tls.Config, error) {
	o := &t.opts
	// Records of full size: bodies are large, and nobody waits for the first bytes of a frame.
	config := &tls.Config{MinVersion: tls.VersionTLS12, DynamicRecordSizingDisabled: true}
	if o.TestMode {
		config.Certificates = []tls.Certificate{*t.own}
		return config, nil
	}
	if o.ServerCert == "" || o.ServerKey == "" {
		return nil, fmt.Errorf("%s=%s needs %s and %s, or %s=true", keyTLSMode, o.Mode, keyServerCert, keyServerKey, keyTLSTestMode)
	}
	cert, err := t.pair(o.ServerCert, o.ServerKey, o.ServerKeyPassword)
	if err != nil {
		return nil, err
	}
	config.Certificates = []tls.Certificate{cert}
	if o.AuthClient && o.ServerTrust != "" {
		if config.ClientCAs, err = readPool(o.ServerTrust); err != nil {
			return nil, err
		}
	}
	switch {
	case o.ClientAuth == "require" && o.AuthClient:
		config.ClientAuth = tls.RequireAndVerifyClientCert
	case o.ClientAuth == "require":
		config.ClientAuth = tls.RequireAnyClientCert
	case o.ClientAuth == "optional" && o.AuthClient:
		config.ClientAuth = tls.VerifyClientCertIfGiven
	case o.ClientAuth == "optional":
		config.ClientAuth = tls.RequestClientCert
	}
	return config, nil
}

// clientConfig verifies the chain and not the host's name, as Java: brokers are dialed by address.
func (t *TLS) clientConfig() (*tls.Config, error) {
	o := &t.opts
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, DynamicRecordSizingDisabled: true}
	if o.TestMode {
		return config, nil
	}
	if o.ClientCert != "" || o.ClientKey != "" {
		cert, err := t.pair(o.ClientCert, o.ClientKey, o.ClientKeyPassword)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{cert}
	}
	if !o.AuthServer {
		return config, nil
	}
	var roots *x509.CertPool // nil: those of the system
	if o.ClientTrust != "" {
		var err error
		if roots, err = readPool(o.ClientTrust); err != nil {
			return nil, err
		}
	}
	config.VerifyConnection = func(s tls.ConnectionState) error {
		verify := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, c := range s.PeerCertificates[1:] {
			verify.Intermediates.AddCert(c)
		}
		_, err := s.PeerCertificates[0].Verify(verify)
		return err
	}
	return config, nil
}

// DialFunc opens a connection.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Dial returns dial, followed by a handshake when connections of this process use TLS.
func (t *TLS) Dial(dial DialFunc) DialFunc {
	if !t.opts.Client {
		return dial
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		tc := tls.Client(nc, t.client.Load())
		if err := tc.HandshakeContext(ctx); err != nil {
			_ = nc.Close()
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
		return tc, nil
	}
}

// ClientTLS is what a tool's command line says of TLS: on takes any certificate of the server, trust only those that a certificate of
// that file is or has signed.
func ClientTLS(on bool, trust string) (settings TLSSettings, err error) {
	given := map[string]string{}
	if on || trust != "" {
		given["tls.enable"] = "true"
	}
	if trust != "" {
		given["tls.test.mode.enable"], given["tls.client.authServer"], given["tls.client.trustCertPath"] = "false", "true", trust
	}
	for key, value := range given {
		if err := settings.Set(key, value); err != nil {
			return settings, fmt.Errorf("%s: %w", key, err)
		}
	}
	return settings, nil
}

// UseTLS has the client use TLS when the settings say so: a tool's, which has no server and no configuration file.
func (o *ClientOptions) UseTLS(settings TLSSettings) error {
	opts, err := settings.Options()
	if err != nil {
		return err
	}
	opts.Mode = TLSDisabled
	t, err := OpenTLS(opts, o.Logger)
	if err != nil {
		return err
	}
	o.Dial = t.Dial(o.Dial)
	return nil
}

// pair reads a certificate, with its chain, and its key.
func (t *TLS) pair(certFile, keyFile, password string) (tls.Certificate, error) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read private key: %w", err)
	}
	if keyPEM, err = decryptKey(keyPEM, password); err != nil {
		return tls.Certificate{}, fmt.Errorf("private key %s: %w", keyFile, err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return cert, fmt.Errorf("certificate %s and private key %s: %w", certFile, keyFile, err)
	}
	if leaf, err := x509.ParseCertificate(cert.Certificate[0]); err == nil {
		switch left := time.Until(leaf.NotAfter); {
		case left <= 0:
			t.log.Error("certificate has expired, peers that verify it will refuse it", "file", certFile, "expired", leaf.NotAfter)
		case left < expiryNotice:
			t.log.Warn("certificate expires soon", "file", certFile, "expires", leaf.NotAfter)
		}
	}
	return cert, nil
}

// decryptKey returns a key in PEM that is not encrypted; PKCS#8 is what Java reads.
func decryptKey(keyPEM []byte, password string) ([]byte, error) {
	block, _ := pem.Decode(keyPEM)
	if block == nil || block.Type != "ENCRYPTED PRIVATE KEY" {
		if block != nil && bytes.Contains(keyPEM, []byte("Proc-Type: 4,ENCRYPTED")) {
			return nil, errors.New("is encrypted in the old form of PEM; convert it with `openssl pkcs8 -topk8`")
		}
		return keyPEM, nil
	}
	if password == "" {
		return nil, errors.New("is encrypted and no password is set")
	}
	key, err := pkcs8.ParsePKCS8PrivateKey(block.Bytes, []byte(password))
	if err != nil {
		return nil, fmt.Errorf("cannot be decrypted: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func readPool(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read trusted certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("trusted certificates %s: no certificate in PEM is in it", file)
	}
	return pool, nil
}

// selfSigned makes the certificate of the test mode, which nobody can verify.
func selfSigned(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
