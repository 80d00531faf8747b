package deploy

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// debianName is what the images are made from, debianFile where `make debian-base` puts it below the user's cache: the image itself
// lies in a registry, which a test must not need.
const (
	debianName = "docker.io/library/debian:bookworm-slim"
	debianFile = "apogee-compat/debian-bookworm-slim.tar"
)

// TestApacheImagesRun takes a minute of its own, hence the variable: `make image-test` sets it.
const imagesAsked = "APACHE_IMAGES"

// importDebian makes the base of what `make debian-base` left, under the name that the Dockerfile has.
func (b *buildah) importDebian() {
	b.t.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(b.t, err)
	base := filepath.Join(cache, debianFile)
	if _, err := os.Stat(base); err != nil {
		b.t.Skip("there is no base image: make debian-base makes one")
	}
	container := b.run("from", "scratch")
	b.run("add", "--quiet", container, base, "/")
	b.run("commit", "--quiet", "--rm", container, debianName)
}

// start runs a command in a container until the test ends; what it says goes to a file, whose name is returned.
func (b *buildah) start(container string, env []string, args ...string) string {
	b.t.Helper()
	run := []string{"run"}
	for _, e := range env {
		run = append(run, "--env", e)
	}
	cmd := b.command(append(append(run, container, "--"), args...)...)
	said, err := os.CreateTemp(b.t.TempDir(), "said")
	require.NoError(b.t, err)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(b.t, cmd.Start())
	require.NoError(b.t, said.Close())
	b.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		_ = cmd.Wait()
		if b.t.Failed() {
			text, _ := os.ReadFile(said.Name())
			b.t.Logf("%s:\n%s", cmd, text)
		}
	})
	return said.Name()
}

// freePorts are n ports of which the second before each is free as well, for a broker's VIP channel.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	var held []net.Listener
	for try := 0; len(ports) < n; try++ {
		require.Less(t, try, 100, "free ports")
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		held = append(held, l)
		port := l.Addr().(*net.TCPAddr).Port
		if vip, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port-2)); err == nil {
			held = append(held, vip)
			ports = append(ports, port)
		}
	}
	for _, l := range held {
		require.NoError(t, l.Close())
	}
	return ports
}

// TestApacheImagesRun builds the images that stand in for Apache's and for its operator's, and has them do what charts, compose files
// and the operator ask of those: a name server and two brokers are started by the scripts, and a message goes through each broker.
func TestApacheImagesRun(t *testing.T) {
	if os.Getenv(imagesAsked) == "" {
		t.Skip("make image-test runs it")
	}
	b := newBuildah(t)
	b.importDebian()
	context := b.context()
	require.NoError(t, os.CopyFS(filepath.Join(context, "deploy", "docker"), os.DirFS("docker")))
	containers := map[string]string{}
	for _, target := range []string{"rocketmq", "operator-broker", "operator-nameserver"} {
		b.run("build", "--pull=never", "-f", "docker/apache/Dockerfile", "--target", target, "-t", target+":test", context)
		containers[target] = b.run("from", "--pull=never", "localhost/"+target+":test")
	}
	c := b.config("rocketmq")
	require.Equal(t, "rocketmq", c.User)
	require.Equal(t, "/home/rocketmq/rocketmq-5.4.0/bin", c.WorkingDir)
	require.Contains(t, c.Env, "ROCKETMQ_HOME=/home/rocketmq/rocketmq-5.4.0")
	for _, port := range []string{"9876/tcp", "10909/tcp", "10911/tcp", "10912/tcp"} {
		require.Contains(t, c.ExposedPorts, port)
	}
	require.Equal(t, "uid=3000(rocketmq) gid=3000(rocketmq) groups=3000(rocketmq)", b.run("run", containers["rocketmq"], "id"))

	ports := freePorts(t, 3)
	namesrv := fmt.Sprintf("127.0.0.1:%d", ports[0])
	write := func(target, name, text string) {
		path := filepath.Join(b.run("mount", containers[target]), b.config(target).WorkingDir, "../conf", name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	broker := "brokerIP1=127.0.0.1\nlistenPort=%d\nmetricsExporterType=DISABLE\n"
	write("operator-nameserver", "namesrv.conf", fmt.Sprintf("listenPort=%d\n", ports[0]))
	write("rocketmq", "broker.conf", "brokerName=by-chart\n"+fmt.Sprintf(broker, ports[1]))
	write("operator-broker", "broker-common.conf", fmt.Sprintf(broker, ports[2]))

	b.start(containers["operator-nameserver"], nil, "/bin/bash", "mqnamesrv", "-c", "../conf/namesrv.conf")
	b.start(containers["rocketmq"], nil, "./docker-entrypoint.sh", "sh", "mqbroker", "-n", namesrv, "-c", "../conf/broker.conf")
	b.start(containers["operator-broker"], []string{"NAMESRV_ADDR=" + namesrv, "BROKER_CLUSTER_NAME=DefaultCluster", "BROKER_NAME=by-operator",
		"BROKER_ID=0", "POD_IP=127.0.0.1"}, "/bin/bash", "./brokerStart.sh")

	admin := func(args ...string) (string, error) {
		out, err := b.command(append([]string{"run", containers["rocketmq"], "--", "sh", "mqadmin"}, append(args, "-n", namesrv)...)...).CombinedOutput()
		return string(out), err
	}
	require.Eventually(t, func() bool {
		out, _ := admin("clusterList")
		return strings.Contains(out, "by-chart") && strings.Contains(out, "by-operator")
	}, 2*time.Minute, 500*time.Millisecond, "both brokers are registered")
	out, err := admin("updateTopic", "-c", "DefaultCluster", "-t", "Images")
	require.NoError(t, err, out)
	for _, name := range []string{"by-chart", "by-operator"} {
		out, err = admin("sendMessage", "-t", "Images", "-b", name, "-i", "0", "-p", "hello "+name)
		require.NoError(t, err, out)
		require.Contains(t, out, "SEND_OK")
		out, err = admin("consumeMessage", "-t", "Images", "-b", name, "-i", "0")
		require.NoError(t, err, out)
		require.Contains(t, out, "hello "+name)
	}
}
