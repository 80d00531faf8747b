package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// unpackStore unpacks a store directory of Apache's.
func unpackStore(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "store", "testdata", name, "store.tar.gz"))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	root := t.TempDir()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return filepath.Join(root, "store")
		}
		require.NoError(t, err)
		if h.Typeflag != tar.TypeReg {
			continue
		}
		path := filepath.Join(root, h.Name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, b, 0o644))
	}
}

// built is the command as users have it.
func built(t *testing.T) func(args ...string) (code int, stdout, stderr string) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "apogee")
	out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	return func(args ...string) (int, string, string) {
		var stdout, stderr bytes.Buffer
		cmd := exec.Command(bin, args...)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		if exit := new(exec.ExitError); err != nil {
			require.ErrorAs(t, err, &exit)
		}
		return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
	}
}

func TestStoreCheckCommand(t *testing.T) {
	t.Parallel()
	apogee := built(t)
	dir := unpackStore(t, "clean")

	code, out, _ := apogee("store", "check", dir)
	require.Equal(t, 0, code, out)
	require.Contains(t, out, dir+": whole\n")
	require.Contains(t, out, "4805 records in 3 files, from 0 to 2745533")

	code, out, _ = apogee("store", "check", unpackStore(t, "crashed"), "-o", "json")
	require.Equal(t, 0, code, out)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], `"severity":"note","file":"abort"`)
	require.Contains(t, lines[1], `"verdict":"whole, to be recovered by the next start"`)

	require.NoError(t, os.Truncate(filepath.Join(dir, "consumequeue/FxGo/0/00000000000000000000"), 30))
	code, out, _ = apogee("store", "check", dir)
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "repairable consumequeue/FxGo/0/00000000000000000000 at 20: 30 bytes are no whole number of entries")
}

func TestStoreCommandSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	apogee := built(t)
	empty := t.TempDir()
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"store"}, 0, ""},
		{[]string{"store", "--help"}, 0, ""},
		{[]string{"store", "chek"}, 2, `unknown command "chek" for "apogee store"`},
		{[]string{"store", "check"}, 2, "wants the store directory"},
		{[]string{"store", "check", "a", "b"}, 2, "takes one directory, not 2 arguments"},
		{[]string{"store", "check", filepath.Join(empty, "none")}, 2, "does not exist; name the folder that storePathRootDir names"},
		{[]string{"store", "check", empty}, 2, "has neither commitlog nor consumequeue nor checkpoint"},
		{[]string{"store", "check", "main.go"}, 2, "main.go is no directory"},
		{[]string{"store", "check", empty, "-o", "xml"}, 2, "want text or json"},
	} {
		code, out, stderr := apogee(c.args...)
		require.Equal(t, c.code, code, c.args)
		require.Contains(t, stderr, c.want, c.args)
		require.LessOrEqual(t, strings.Count(stderr, "\n"), 1, stderr)
		if c.code == 0 {
			require.Contains(t, out, "apogee store check /data/rocketmq/store", c.args)
		}
	}
}

func TestStoreDumpCommand(t *testing.T) {
	t.Parallel()
	apogee := built(t)
	dir := unpackStore(t, "clean")
	code, out, _ := apogee("store", "dump", filepath.Join(dir, "commitlog"), "--topic", "FxFill", "--queue", "3", "--limit", "2", "--body", "none", "-o", "json")
	require.Equal(t, 0, code)
	require.Equal(t, 2, strings.Count(out, "\n"))
	require.Contains(t, out, `"topic":"FxFill","queueId":3,"queueOffset":1`)
	for _, c := range [][]string{
		{"dump"}, {"dump", "main.go"}, {"dump", filepath.Join(dir, "none")}, {"dump", dir, "--body", "loud"}, {"dump", dir, "--limit", "x"},
	} {
		code, _, stderr := apogee(append([]string{"store"}, c...)...)
		require.Equal(t, 2, code, c)
		require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
	}
}

func TestStoreRepairCommand(t *testing.T) {
	t.Parallel()
	apogee := built(t)
	dir := unpackStore(t, "clean")
	code, out, _ := apogee("store", "repair", dir)
	require.Equal(t, 0, code, out)
	require.NotContains(t, out, "repair ")
	require.NoError(t, os.Truncate(filepath.Join(dir, "consumequeue/FxGo/0/00000000000000000000"), 30))
	code, out, _ = apogee("store", "repair", dir)
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "consumequeue/FxGo/0: the queue is kept aside and made anew from the log")
	require.Contains(t, out, "Nothing was changed")
	code, out, _ = apogee("store", "repair", dir, "--write")
	require.Equal(t, 0, code, out)
	require.Contains(t, out, ": whole\n")
	code, out, _ = apogee("store", "check", dir)
	require.Equal(t, 0, code, out)
}
