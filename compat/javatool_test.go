package compat

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// javaTool is a server of Apache's that is built of its source: the dashboard, the exporter. Its front end, if it has one, is left out.
type javaTool struct {
	env     string // names the folder of the source
	main    string
	lombok  bool
	classes string
	lib     string
}

// build compiles the tool beside its source, once for a checkout, or skips the test when there is none.
func (j *javaTool) build(t *testing.T) {
	t.Helper()
	src := os.Getenv(j.env)
	if src == "" {
		t.Skipf("%s names no folder with the source: see make dashboard", j.env)
	}
	needJava(t)
	src, err := filepath.Abs(src)
	require.NoError(t, err)
	j.lib, j.classes = filepath.Join(src, "target", "compat-lib"), filepath.Join(src, "target", "compat-classes")
	complete := filepath.Join(j.classes, ".complete")
	if _, err := os.Stat(complete); err == nil {
		return
	}
	do := func(name string, args ...string) {
		cmd := exec.Command(name, args...)
		cmd.Dir = src
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s\n%s", cmd, out)
	}
	// Provided jars too: lombok makes methods of annotations while javac runs.
	do("mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=compile", "-DoutputDirectory="+j.lib)
	if j.lombok {
		do("mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeArtifactIds=lombok", "-DoutputDirectory="+j.lib)
	}
	var files []string
	require.NoError(t, filepath.WalkDir(filepath.Join(src, "src", "main", "java"), func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".java") {
			files = append(files, path)
		}
		return err
	}))
	require.NoError(t, os.MkdirAll(j.classes, 0o755))
	do("javac", append([]string{"-nowarn", "-parameters", "-d", j.classes, "-cp", filepath.Join(j.lib, "*")}, files...)...)
	require.NoError(t, os.CopyFS(j.classes, os.DirFS(filepath.Join(src, "src", "main", "resources"))))
	require.NoError(t, os.WriteFile(complete, nil, 0o644))
}

// start runs the tool with settings of Spring's until the test ends.
func (j *javaTool) start(t *testing.T, settings ...string) {
	t.Helper()
	dir := t.TempDir()
	args := []string{"-Xmx256m", "-XX:TieredStopAtLevel=1", "-Duser.home=" + dir, "-Drocketmq.client.logRoot=" + dir,
		"-cp", j.classes + string(os.PathListSeparator) + filepath.Join(j.lib, "*"), j.main}
	for _, s := range settings {
		args = append(args, "--"+s)
	}
	p, err := startProcess(&command{name: filepath.Base(filepath.Dir(filepath.Dir(j.lib))), path: "java", args: args, dir: dir, env: []string{"NAMESRV_ADDR="}})
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(tail(p.logPath, logTailBytes))
		}
		_ = p.stop(10 * time.Second)
	})
}
