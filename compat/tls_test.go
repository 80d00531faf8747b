package compat

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tlsScenarios are sends, consumption, requests of the server to its clients and administration.
const tlsScenarios = "send-sync,push-concurrent,admin-topic"

// startTLS starts a target whose ports all want TLS, or take it.
func startTLS(t *testing.T, mode string, properties ...string) *Target {
	t.Helper()
	kind, err := TargetKind()
	require.NoError(t, err)
	tg, err := newTarget(kind, t.TempDir())
	require.NoError(t, err)
	setTLS(t, tg, mode, properties...)
	tg.run(t)
	return tg
}

func setTLS(t testing.TB, tg *Target, mode string, properties ...string) {
	tg.properties = append([]string{"tls.server.mode=" + mode}, properties...)
	if mode != "enforcing" {
		return
	}
	tg.javaProperties = []string{"tls.enable=true"}
	for _, addr := range []string{tg.Namesrv(), tg.Broker(), tg.VIP()} {
		tlsAddrs.Store(addr, true)
		t.Cleanup(func() { tlsAddrs.Delete(addr) })
	}
}

// Java's clients work with servers that take nothing but TLS; servers reach each other over it, and a plain frame is not answered.
func TestTLSEnforcing(t *testing.T) {
	needJava(t)
	tg := startTLS(t, "enforcing")
	requireJava(t, tg, "5.5.0", "--scenario", tlsScenarios)
	for _, addr := range []string{tg.Namesrv(), tg.Broker(), tg.VIP()} {
		requirePlainRefused(t, addr)
	}
	if tg.Kind == Apogee {
		text := tail(tg.broker.logPath, logTailBytes)
		require.Equal(t, 1, strings.Count(text, "no TLS where it is demanded"), text)
	}
	requireBenchTLS(t, tg)
}

// requireBenchTLS runs `apogee bench` against servers that demand TLS.
func requireBenchTLS(t *testing.T, tg *Target) {
	t.Helper()
	bin, err := apogeeBinary()
	require.NoError(t, err)
	bench := func(flags ...string) ([]byte, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		return exec.CommandContext(ctx, bin, append([]string{"bench", "produce", "-n", tg.Namesrv(), "--topics", "1", "--queues", "2", "--connections", "2",
			"--duration", "300ms", "--warmup", "100ms", "--progress", "0"}, flags...)...).CombinedOutput()
	}
	out, err := bench("--tls")
	require.NoError(t, err, "%s", out)
	_, err = bench()
	require.Error(t, err)
	other := filepath.Join(t.TempDir(), "other.pem")
	require.NoError(t, os.WriteFile(other, []byte("no certificate"), 0o600))
	out, err = bench("--tlsTrust", other)
	require.Error(t, err)
	require.Contains(t, string(out), other)
}

// requirePlainRefused sends a plain request, which must get no answer.
func requirePlainRefused(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	_, _ = conn.Write((&packet{Code: codeGetBrokerClusterInfo, Language: "GO", Version: goVersion}).encode())
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(callTimeout)))
	n, err := conn.Read(make([]byte, 1))
	require.Zero(t, n)
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection is still open")
}

// Plain and TLS clients share the ports of permissive servers, as Apache's are by default.
func TestTLSPermissive(t *testing.T) {
	needJava(t)
	tg := startTLS(t, "permissive")
	requireJava(t, tg, "5.5.0", "--scenario", "send-sync")
	tg.javaProperties = []string{"tls.enable=true"}
	requireJava(t, tg, "5.5.0", "--scenario", tlsScenarios)
	requireJava(t, tg, "4.9.8", "--scenario", "send-sync")
}

// With certificates of an authority both sides verify each other; the server's key is encrypted. A client without a certificate is refused.
func TestTLSOfBothSides(t *testing.T) {
	needJava(t)
	dir := t.TempDir()
	openssl := func(args ...string) {
		t.Helper()
		cmd := exec.Command("openssl", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "openssl %v: %s", args, out)
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip(err)
	}
	openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=compat CA", "-keyout", "ca.key", "-out", "ca.pem")
	for _, side := range []string{"server", "client"} {
		openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN="+side, "-keyout", side+".plain", "-out", side+".csr")
		openssl("x509", "-req", "-in", side+".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-out", side+".pem")
		openssl("pkcs8", "-topk8", "-in", side+".plain", "-out", side+".key", "-passout", "pass:secret-"+side, "-v2", "aes-256-cbc")
	}
	file := filepath.Join(dir, "tls.properties")
	var text strings.Builder
	fmt.Fprintln(&text, "tls.test.mode.enable=false\ntls.server.need.client.auth=require\ntls.server.authClient=true\ntls.client.authServer=true")
	for _, side := range []string{"server", "client"} {
		fmt.Fprintf(&text, "tls.%[1]s.keyPath=%[2]s/%[1]s.key\ntls.%[1]s.keyPassword=secret-%[1]s\ntls.%[1]s.certPath=%[2]s/%[1]s.pem\ntls.%[1]s.trustCertPath=%[2]s/ca.pem\n", side, dir)
	}
	require.NoError(t, os.WriteFile(file, []byte(text.String()), 0o600))
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.plain"))
	require.NoError(t, err)
	tlsClientPair.Store(&pair)
	defer tlsClientPair.Store(nil)
	tg := startTLS(t, "enforcing", "tls.config.file="+file)
	tg.javaProperties = []string{"tls.enable=true", "tls.config.file=" + file}
	requireJava(t, tg, "5.5.0", "--scenario", tlsScenarios)
	tlsClientPair.Store(nil)
	_, err = callOnce(tg.Broker(), codeGetBrokerClusterInfo, nil, nil)
	require.Error(t, err, "without a certificate")
}

// Servers of both kinds register with each other over TLS.
func TestTLSBetweenApacheAndApogee(t *testing.T) {
	needJava(t)
	for _, kind := range []Kind{Apogee, Apache} {
		t.Run("broker of "+string(kind), func(t *testing.T) {
			tg := newMixed(t, kind)
			setTLS(t, tg, "enforcing")
			tg.run(t)
			requireJava(t, tg, "5.5.0", "--scenario", tlsScenarios)
		})
	}
}

// Apache's mqadmin sees the cluster over TLS.
func TestMQAdminOverTLS(t *testing.T) {
	needJava(t)
	lib, err := stackJars()
	require.NoError(t, err)
	tg := startTLS(t, "enforcing")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	home := t.TempDir()
	cmd := exec.CommandContext(ctx, "java", "-Xmx128m", "-Dtls.enable=true", "-Duser.home="+home, "-Drocketmq.home.dir="+home, "-cp", filepath.Join(lib, "*"),
		"org.apache.rocketmq.tools.command.MQAdminStartup", "clusterList", "-n", tg.Namesrv())
	cmd.Env = append(os.Environ(), "ROCKETMQ_HOME="+home, "NAMESRV_ADDR=")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), tg.Broker())
	require.Contains(t, string(out), tg.ClusterName)
}
