package store

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func removeAllOf(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, name)))
	}
}

func TestOpenTwice(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	s := openTestStore(t, o)
	_, err := Open(o)
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, o.Dir)
	require.NoError(t, s.Close())
	openTestStore(t, o)
}

// holdLockEnv makes the test binary hold the lock of a directory the way Java does, until its input ends.
const holdLockEnv = "STORE_TEST_HOLD_LOCK"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdLockEnv); path != "" {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err == nil {
			err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Len: 1})
		}
		if err != nil {
			os.Exit(3)
		}
		os.Stdout.WriteString("held\n")
		bufio.NewReader(os.Stdin).ReadString('\n')
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A directory that a Java broker has open is refused, and one that we have open refuses Java's lock.
func TestLockAgainstJava(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	hold := exec.Command(os.Args[0])
	hold.Env = append(os.Environ(), holdLockEnv+"="+filepath.Join(o.Dir, "lock"))
	in, err := hold.StdinPipe()
	require.NoError(t, err)
	out, err := hold.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, hold.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", line)
	_, err = Open(o)
	require.ErrorIs(t, err, ErrInUse)
	require.NoDirExists(t, filepath.Join(o.Dir, "commitlog"))
	require.NoError(t, in.Close())
	require.NoError(t, hold.Wait())

	openTestStore(t, o)
	late := exec.Command(os.Args[0])
	late.Env = append(os.Environ(), holdLockEnv+"="+filepath.Join(o.Dir, "lock"))
	var exit *exec.ExitError
	require.ErrorAs(t, late.Run(), &exit)
	require.Equal(t, 3, exit.ExitCode())
}

func TestNotWritable(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root may write anywhere")
	}
	o := testOptions(t)
	require.NoError(t, os.Chmod(o.Dir, 0o500))
	_, err := Open(o)
	require.ErrorContains(t, err, "not writable")
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(o *Options){
		"directory": func(o *Options) { o.Dir = "" },
		"segment":   func(o *Options) { o.SegmentBytes = 100 },
		"queue":     func(o *Options) { o.QueueSegmentEntries = 0 },
		"message":   func(o *Options) { o.MaxMessageBytes = 0 },
		"clock":     func(o *Options) { o.Now = nil },
		"interval":  func(o *Options) { o.FlushInterval = 0 },
	} {
		o := testOptions(t)
		change(&o)
		_, err := Open(o)
		require.Error(t, err, name)
	}
	mode, err := FlushModeOf("SYNC_FLUSH")
	require.NoError(t, err)
	require.Equal(t, FlushSync, mode)
	_, err = FlushModeOf("sync")
	require.Error(t, err)
}
