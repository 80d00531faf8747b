package compat

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
)

var built struct {
	once sync.Once
	path string
	dir  string
	err  error
}

// apogeeBinary is APOGEE_BIN, or the binary of this module, built once.
func apogeeBinary() (string, error) {
	if bin := os.Getenv("APOGEE_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	built.once.Do(func() {
		root, err := moduleRoot()
		if err != nil {
			built.err = err
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "apogee-bin-"); built.err != nil {
			return
		}
		built.path = filepath.Join(built.dir, "apogee")
		cmd := exec.Command("go", "build", "-o", built.path, "./cmd/apogee")
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("build apogee: %w\n%s", err, out)
		}
	})
	return built.path, built.err
}

// removeBuilt removes the binary that apogeeBinary made.
func removeBuilt() {
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
}

// moduleRoot is the folder of go.mod above the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = up
	}
}

// apogeeLauncher runs our binary.
type apogeeLauncher struct{ bin string }

func newApogeeLauncher() (launcher, error) {
	bin, err := apogeeBinary()
	return apogeeLauncher{bin}, err
}

func (l apogeeLauncher) server(t *Target) (*command, error) {
	return l.run(t, "server", "--namesrv-port", strconv.Itoa(t.ports.namesrv), "-c", t.brokerConfPath())
}

func (l apogeeLauncher) namesrv(t *Target) (*command, error) {
	return l.run(t, "namesrv", "-c", t.namesrvConfPath())
}

func (l apogeeLauncher) broker(t *Target) (*command, error) {
	return l.run(t, "broker", "-n", t.namesrvs(), "-c", t.brokerConfPath())
}

func (l apogeeLauncher) run(t *Target, args ...string) (*command, error) {
	for _, p := range t.properties {
		args = append(args, "-D"+p)
	}
	return &command{name: args[0], path: l.bin, args: args, dir: t.Dir, env: []string{"HOME=" + t.Dir}}, nil
}
