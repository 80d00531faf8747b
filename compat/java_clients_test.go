package compat

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// javaVersions are the releases of the Java client that java/clients is built with.
var javaVersions = []string{"5.5.0", "4.9.8"}

const (
	// javaRunLimit is for all scenarios of one client version; they take half a minute when they pass.
	javaRunLimit = 12 * time.Minute
	// oldBuild is the age at which a build of other sources is removed from the cache.
	oldBuild = 7 * 24 * time.Hour
)

// needJava skips a test where Java is not there. TestMain has said so, or refused to run at all.
func needJava(t *testing.T) {
	t.Helper()
	if err := JavaMissing(); err != nil {
		t.Skip(err)
	}
}

var javaBuilt struct {
	mu    sync.Mutex
	paths map[string]string
}

// javaClasspath is the class path of the scenarios with one client version, built once and kept in the user's cache
// until the sources change.
func javaClasspath(t testing.TB, version string) string {
	t.Helper()
	javaBuilt.mu.Lock()
	defer javaBuilt.mu.Unlock()
	if path, ok := javaBuilt.paths[version]; ok {
		return path
	}
	dir, err := buildJavaClients(version)
	require.NoError(t, err)
	path := filepath.Join(dir, "classes") + string(os.PathListSeparator) + filepath.Join(dir, "lib", "*")
	if javaBuilt.paths == nil {
		javaBuilt.paths = map[string]string{}
	}
	javaBuilt.paths[version] = path
	return path
}

// buildJavaClients returns the folder of a build of the present sources. A build appears there whole, by a rename, so
// that test processes may race for it.
func buildJavaClients(version string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	project := filepath.Join(root, "compat", "java", "clients")
	sum, err := treeSum(project)
	if err != nil {
		return "", fmt.Errorf("read the Java sources: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	home := filepath.Join(cache, "apogee-compat", "clients-"+version)
	dir := filepath.Join(home, sum[:16])
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	removeOldBuilds(home)
	fresh, err := os.MkdirTemp(home, "building-")
	if err != nil {
		return "", fmt.Errorf("make a folder to build in: %w", err)
	}
	defer os.RemoveAll(fresh)
	if err := mvnBuild(project, version, fresh); err != nil {
		return "", err
	}
	if err := os.Rename(fresh, dir); err != nil {
		if _, err := os.Stat(dir); err == nil {
			return dir, nil
		}
		return "", fmt.Errorf("keep the build: %w", err)
	}
	return dir, nil
}

// mvnBuild asks the local repository first, and the network only when that does not do.
func mvnBuild(project, version, out string) error {
	args := []string{
		"-q", "-B", "-f", filepath.Join(project, "pom.xml"),
		"-Dclient.version=" + version, "-Dclient.out=" + out, "process-classes",
	}
	if exec.Command("mvn", append([]string{"-o"}, args...)...).Run() == nil {
		return nil
	}
	if text, err := exec.Command("mvn", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build the Java scenarios with client %s: %w\n%s", version, err, text)
	}
	return nil
}

func removeOldBuilds(home string) {
	entries, err := os.ReadDir(home)
	if err != nil {
		return // nothing to remove from
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > oldBuild {
			_ = os.RemoveAll(filepath.Join(home, e.Name()))
		}
	}
}

// treeSum is a hash over names and content of the files that make the build.
func treeSum(project string) (string, error) {
	h := sha256.New()
	add := func(path string) error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %d\n", strings.TrimPrefix(path, project), len(b))
		h.Write(b)
		return nil
	}
	if err := add(filepath.Join(project, "pom.xml")); err != nil {
		return "", err
	}
	err := filepath.WalkDir(filepath.Join(project, "src"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return add(path)
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// javaCommand is the scenario runner of one client version against a target. It ends with ctx.
func javaCommand(ctx context.Context, t testing.TB, tg *Target, version string, args ...string) *exec.Cmd {
	t.Helper()
	all := []string{
		"-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-cp", javaClasspath(t, version), "org.apogee.compat.Scenarios", "--namesrv", tg.Namesrv(),
	}
	for _, p := range tg.javaProperties {
		all = append([]string{"-D" + p}, all...)
	}
	cmd := exec.CommandContext(ctx, "java", append(all, args...)...)
	cmd.Env = append(os.Environ(), "NAMESRV_ADDR=")
	if tg.as != nil {
		cmd.Env = append(cmd.Env, "COMPAT_ACCESS_KEY="+tg.as.name, "COMPAT_SECRET_KEY="+tg.as.secret)
	}
	cmd.SysProcAttr = childAttr()
	return cmd
}

// javaResult is one line of the scenario runner.
type javaResult struct {
	name   string
	passed bool
	text   string // milliseconds, or why it failed
}

// runJava runs scenarios and returns their results. The runner's last line says how many there are; without it, or with
// another number, some did not run.
func runJava(t testing.TB, tg *Target, version string, args ...string) []javaResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), javaRunLimit)
	defer cancel()
	cmd := javaCommand(ctx, t, tg, version, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := cmd.Run()
	var results []javaResult
	done := -1
	lines := bufio.NewScanner(&stdout)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		name, text, _ := strings.Cut(rest, " ")
		switch word {
		case "PASS", "FAIL":
			results = append(results, javaResult{name: name, passed: word == "PASS", text: text})
		case "DONE":
			_, _ = fmt.Sscan(rest, &done)
		}
	}
	if done != len(results) {
		for _, r := range results {
			t.Logf("%+v", r)
		}
		require.FailNow(t, "not all scenarios ran", "%v\n%s", runErr, stderr.String())
	}
	return results
}

// requireJava runs scenarios all of which have to pass.
func requireJava(t testing.TB, tg *Target, version string, args ...string) {
	t.Helper()
	results := oncemore(t, tg, version, runJava(t, tg, version, args...))
	require.NotEmpty(t, results)
	var failed []string
	for _, r := range results {
		if !r.passed {
			failed = append(failed, r.name+": "+r.text)
		}
	}
	require.Empty(t, failed)
}

// oncemore runs the scenarios that failed again, without the others: on a loaded machine a rebalance or a time-out of a client
// delivers a message twice, as it may.
func oncemore(t testing.TB, tg *Target, version string, results []javaResult) []javaResult {
	t.Helper()
	for i, r := range results {
		if r.passed {
			continue
		}
		t.Logf("%s failed among the others: %s", r.name, r.text)
		if again := runJava(t, tg, version, "--scenario", r.name); len(again) == 1 {
			results[i] = again[0]
		}
	}
	return results
}

// chosenScenarios is the third part of -run, which names Java scenarios below a client version; empty for all.
func chosenScenarios() string {
	parts := strings.Split(flag.Lookup("test.run").Value.String(), "/")
	if len(parts) < 3 {
		return ""
	}
	if _, err := regexp.Compile(parts[2]); err != nil {
		return "" // the slash was inside a bracket
	}
	return parts[2]
}
