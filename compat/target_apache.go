package compat

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// stackRelease is the release of Apache's servers that java/stack/pom.xml resolves, unless APOGEE_APACHE_VERSION names another.
const stackRelease = "5.4.0"

func stackVersion() string {
	if v := os.Getenv("APOGEE_APACHE_VERSION"); v != "" {
		return v
	}
	return stackRelease
}

// stacks are the folders of jars that were resolved, by release.
var stacks = struct {
	sync.Mutex
	dirs map[string]string
}{dirs: map[string]string{}}

// JavaMissing says why Java parts of the suite cannot run, or nil when java and mvn are there.
func JavaMissing() error {
	for _, tool := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not installed", tool)
		}
	}
	return nil
}

// stackJars is a folder with the jars of Apache's servers, resolved once into the user's cache.
func stackJars() (string, error) { return stackJarsOf(stackVersion()) }

// stackJarsOf is stackJars for a release.
func stackJarsOf(version string) (string, error) {
	stacks.Lock()
	defer stacks.Unlock()
	if dir := stacks.dirs[version]; dir != "" {
		return dir, nil
	}
	dir, err := resolveStack(version)
	if err == nil {
		stacks.dirs[version] = dir
	}
	return dir, err
}

func resolveStack(version string) (string, error) {
	if err := JavaMissing(); err != nil {
		return "", err
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	lib := filepath.Join(cache, "apogee-compat", "rocketmq-"+version)
	complete := filepath.Join(lib, ".complete")
	if _, err := os.Stat(complete); err == nil {
		return lib, nil
	}
	cmd := exec.Command("mvn", "-q", "-B", "-f", filepath.Join(root, "compat", "java", "stack", "pom.xml"),
		"-Drocketmq.version="+version, "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+lib)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("resolve Apache's servers: %w\n%s", err, out)
	}
	for _, name := range []string{"rocketmq-broker-", "rocketmq-namesrv-"} {
		if _, err := os.Stat(filepath.Join(lib, name+version+".jar")); err != nil {
			return "", fmt.Errorf("resolve Apache's servers: %w", err)
		}
	}
	return lib, os.WriteFile(complete, nil, 0o644)
}

// apacheLauncher runs Apache's name server and broker on a JVM each.
type apacheLauncher struct{ lib string }

func newApacheLauncher() (launcher, error) {
	lib, err := stackJars()
	return apacheLauncher{lib}, err
}

func (apacheLauncher) server(*Target) (*command, error) {
	return nil, errors.New("servers of Apache do not run in one process")
}

func (l apacheLauncher) namesrv(t *Target) (*command, error) {
	return l.run(t, "namesrv", "-Xms64m", "-Xmx128m", "org.apache.rocketmq.namesrv.NamesrvStartup",
		"-c", t.namesrvConfPath())
}

func (l apacheLauncher) broker(t *Target) (*command, error) {
	xms, xmx := "-Xms256m", "-Xmx512m"
	if t.forSpeed {
		xms, xmx = "-Xms4g", "-Xmx4g"
	}
	return l.run(t, "broker", xms, xmx, "org.apache.rocketmq.broker.BrokerStartup",
		"-n", t.namesrvs(), "-c", t.brokerConfPath())
}

// The suite wants answers, not speed; a benchmark wants what the makers' runbroker.sh sets.
var (
	smallJVM = []string{"-XX:MaxDirectMemorySize=512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"}
	fastJVM  = []string{"-XX:MaxDirectMemorySize=4g", "-XX:+UseG1GC", "-XX:G1HeapRegionSize=16m", "-XX:G1ReservePercent=25",
		"-XX:InitiatingHeapOccupancyPercent=30", "-XX:SoftRefLRUPolicyMSPerMB=0", "-XX:+AlwaysPreTouch"}
)

// run puts home and logs below the target's folder.
func (l apacheLauncher) run(t *Target, name, xms, xmx, class string, args ...string) (*command, error) {
	home := filepath.Join(t.Dir, "home")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return nil, fmt.Errorf("make the home of %s: %w", name, err)
	}
	jvm := smallJVM
	if t.forSpeed && name == "broker" {
		jvm = fastJVM
	}
	flags := append([]string{xms, xmx}, jvm...)
	for _, p := range t.properties {
		flags = append(flags, "-D"+p)
	}
	flags = append(flags,
		"--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
		"--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
		"-Duser.home="+home, "-Drocketmq.home.dir="+home,
		"-cp", filepath.Join(l.lib, "*"), class,
	)
	return &command{
		name: name, path: "java", args: append(flags, args...), dir: t.Dir,
		env: []string{"ROCKETMQ_HOME=" + home, "NAMESRV_ADDR="},
	}, nil
}
