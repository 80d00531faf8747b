// Package deploy holds images, units, charts and dashboards; its tests run what can be run of them without an engine.
package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// writeProgram writes a file that is to be run. No other test may start a program meanwhile: its process would have the file open for writing
// for a moment, and whoever runs the file then is told that it is busy.
func writeProgram(t *testing.T, path, text string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
}

// run starts a command of the Apache image's bin folder in a home with a stand-in for the binary, which prints what it was
// called with.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	fake := filepath.Join(t.TempDir(), "apogee")
	writeProgram(t, fake, "#!/bin/sh\necho called: \"$@\"\n")
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "APOGEE=" + fake}, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out) + err.Error()
	}
	return string(out)
}

func TestScriptsOfApacheImage(t *testing.T) {
	t.Parallel()
	bin, err := filepath.Abs("docker/apache/bin")
	require.NoError(t, err)
	for _, tt := range []struct {
		name string
		env  []string
		argv []string
		want string
	}{
		{"broker", nil, []string{"./mqbroker", "-n", "ns:9876", "-c", "b.conf"}, "called: broker -n ns:9876 -c b.conf\n"},
		{"broker by sh", nil, []string{"sh", "mqbroker", "-c", "b.conf"}, "called: broker -c b.conf\n"},
		{"name server by sh", nil, []string{"sh", "mqnamesrv"}, "called: namesrv\n"},
		{"admin", nil, []string{"sh", "mqadmin", "clusterList", "-n", "ns:9876"}, "called: admin clusterList -n ns:9876\n"},
		{"role as an argument", nil, []string{"./docker-entrypoint.sh", "broker", "-c", "b.conf"}, "called: broker -c b.conf\n"},
		{"role in the environment", []string{"NODE_ROLE=nameserver"}, []string{"./docker-entrypoint.sh", "dummy"}, "called: namesrv\n"},
		{"any command", nil, []string{"./docker-entrypoint.sh", "sh", "mqbroker", "-c", "x"}, "called: broker -c x\n"},
		{"no controller", nil, []string{"./docker-entrypoint.sh", "controller"}, "mqcontroller: this image has no controller; run brokers without enableControllerMode\nexit status 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, run(t, bin, tt.env, tt.argv[0], tt.argv[1:]...))
		})
	}
}

func TestOperatorMakesBrokerConf(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(home, "conf"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(home, "bin"), 0o755))
	for _, from := range []string{"docker/apache/bin", "docker/apache/operator"} {
		files, err := os.ReadDir(from)
		require.NoError(t, err)
		for _, f := range files {
			text, err := os.ReadFile(filepath.Join(from, f.Name()))
			require.NoError(t, err)
			writeProgram(t, filepath.Join(home, "bin", f.Name()), string(text))
		}
	}
	common := "brokerClusterName=old\nflushDiskType=SYNC_FLUSH\nbrokerName = old\nbrokerIP1=1.1.1.1"
	require.NoError(t, os.WriteFile(filepath.Join(home, "conf", "broker-common.conf"), []byte(common), 0o644))

	out := run(t, filepath.Join(home, "bin"), []string{"ROCKETMQ_HOME=" + home, "NAMESRV_ADDR=ns:9876", "BROKER_CLUSTER_NAME=c",
		"BROKER_NAME=c-0", "BROKER_ID=0", "POD_IP=10.0.0.7"}, "bash", "./brokerStart.sh")
	require.Contains(t, out, "called: broker -n ns:9876 -c "+home+"/conf/broker.conf\n")
	conf, err := os.ReadFile(filepath.Join(home, "conf", "broker.conf"))
	require.NoError(t, err)
	require.Equal(t, "flushDiskType=SYNC_FLUSH\nbrokerIP1=1.1.1.1\nbrokerClusterName=c\nbrokerName=c-0\nbrokerId=0\nbrokerIP1=10.0.0.7\n", string(conf))
}

// TestImagesCopyWhatIsThere checks the paths of COPY; those below dist come from make.
func TestImagesCopyWhatIsThere(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("docker/*/Dockerfile")
	require.NoError(t, err)
	copies := regexp.MustCompile(`(?m)^COPY (?:--\S+ )*(\S+) \S+$`)
	for _, file := range append(files, "docker/Dockerfile") {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		found := copies.FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, found, file)
		for _, m := range found {
			if !strings.HasPrefix(m[1], "dist/") {
				require.DirExists(t, filepath.Join("..", m[1]), file)
			}
		}
	}
}

func TestSystemdUnits(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	units, err := filepath.Glob("systemd/*.service")
	require.NoError(t, err)
	require.Len(t, units, 2)
	dir := t.TempDir()
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		require.NoError(t, err)
		// The binary is not installed where tests run, and man pages are not there either.
		runnable := strings.ReplaceAll(string(text), "/usr/bin/apogee", "/bin/true")
		runnable = regexp.MustCompile(`(?m)^Documentation=.*$`).ReplaceAllString(runnable, "")
		copied := filepath.Join(dir, filepath.Base(unit))
		require.NoError(t, os.WriteFile(copied, []byte(runnable), 0o644))
		out, err := exec.Command("systemd-analyze", "verify", "--recursive-errors=no", copied).CombinedOutput()
		require.NoError(t, err, string(out))
		require.NotContains(t, string(out), filepath.Base(unit), string(out))
	}
}

// TestChart lints and renders the chart where helm is installed, with its own values and with all that can be set.
func TestChart(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("helm"); err != nil {
		t.Skip("helm is not installed")
	}
	values := filepath.Join(t.TempDir(), "values.yaml")
	require.NoError(t, os.WriteFile(values, []byte(`
image: {repository: registry.example/apogee, tag: "1.0"}
imagePullSecrets: [{name: pull}]
cluster: other
namesrv:
  replicas: 3
  config: {scanNotActiveBrokerInterval: 5000000}
  persistence: {size: 2Gi, storageClass: slow}
  nodeSelector: {disk: any}
  tolerations: [{key: a, operator: Exists}]
broker:
  replicas: 2
  config: {maxMessageSize: 8388608, diskMaxUsedSpaceRatio: 75, pollNameServerInterval: "1000", longPollingEnable: false}
  persistence: {size: 9Gi, storageClass: fast}
  nodeSelector: {disk: ssd}
  tolerations: [{key: b, operator: Exists}]
metrics: {annotations: false}
`), 0o644))
	for _, tt := range []struct {
		name       string
		args       []string
		want, none []string
	}{
		{"its own values", nil, []string{`"mq-apogee-namesrv-0.mq-apogee-namesrv:9876;mq-apogee-namesrv-1.mq-apogee-namesrv:9876"`, "prometheus.io/scrape",
			"    brokerClusterName=DefaultCluster\n", "    autoCreateTopicEnable=false\n"}, []string{"tolerations", "nodeSelector", "storageClassName", "imagePullSecrets"}},
		{"all values", []string{"-f", values}, []string{`"mq-apogee-namesrv-0.mq-apogee-namesrv:9876;mq-apogee-namesrv-1.mq-apogee-namesrv:9876;mq-apogee-namesrv-2.mq-apogee-namesrv:9876"`,
			"image: registry.example/apogee:1.0\n", "- name: pull\n", "    brokerClusterName=other\n", "    maxMessageSize=8388608\n", "    scanNotActiveBrokerInterval=5000000\n",
			"    pollNameServerInterval=1000\n", "    longPollingEnable=false\n", "storageClassName: fast\n", "storageClassName: slow\n", "disk: ssd\n", "key: b\n"}, []string{"prometheus.io"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := exec.Command("helm", append([]string{"lint", "--strict", "helm/apogee"}, tt.args...)...).CombinedOutput()
			require.NoError(t, err, string(out))
			rendered, err := exec.Command("helm", append([]string{"template", "mq", "helm/apogee"}, tt.args...)...).Output()
			require.NoError(t, err)
			for _, text := range tt.want {
				require.Contains(t, string(rendered), text)
			}
			for _, text := range tt.none {
				require.NotContains(t, string(rendered), text)
			}
		})
	}
}
