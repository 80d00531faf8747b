package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// buildah is the tool with a storage of the test's own; it needs no daemon and runs inside of containers.
type buildah struct {
	t    *testing.T
	home string
}

// newBuildah skips a test where the tool is missing.
func newBuildah(t *testing.T) *buildah {
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Skip("buildah is not installed")
	}
	return &buildah{t, filepath.Join(t.TempDir(), "storage")}
}

func (b *buildah) command(args ...string) *exec.Cmd {
	cmd := exec.Command("buildah", append([]string{"--storage-driver", "vfs", "--root", filepath.Join(b.home, "root"), "--runroot", filepath.Join(b.home, "run")}, args...)...)
	cmd.Env = append(os.Environ(), "BUILDAH_ISOLATION=chroot")
	return cmd
}

func (b *buildah) run(args ...string) string {
	b.t.Helper()
	cmd := b.command(args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	require.NoError(b.t, err, "%s\n%s%s", cmd, out, said.String())
	return strings.TrimSpace(string(out))
}

// context is a folder with what make puts below dist before it builds an image: the binary and an empty folder.
func (b *buildah) context() string {
	b.t.Helper()
	dir := b.t.TempDir()
	require.NoError(b.t, os.MkdirAll(filepath.Join(dir, "dist/image/data"), 0o755))
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "dist/image/apogee-linux-amd64"), "../cmd/apogee")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	out, err := build.CombinedOutput()
	require.NoError(b.t, err, string(out))
	return dir
}

// imageConfig is what an image says of itself.
type imageConfig struct {
	User         string
	ExposedPorts map[string]any
	Env          []string
	Entrypoint   []string
	Cmd          []string
	Volumes      map[string]any
	WorkingDir   string
}

func (b *buildah) config(name string) imageConfig {
	b.t.Helper()
	var image struct {
		OCIv1 struct {
			Config imageConfig `json:"config"`
		}
	}
	require.NoError(b.t, json.Unmarshal([]byte(b.run("inspect", "--type", "image", name+":test")), &image))
	return image.OCIv1.Config
}

// TestImageIsBuilt builds the small image where buildah is installed, looks at what it says of itself, and runs its binary.
func TestImageIsBuilt(t *testing.T) {
	t.Parallel()
	b := newBuildah(t)
	b.run("build", "-f", "docker/Dockerfile", "-t", "apogee:test", b.context())
	c := b.config("apogee")
	require.Equal(t, "65532:65532", c.User)
	require.Equal(t, []string{"/apogee"}, c.Entrypoint)
	require.Equal(t, []string{"server", "--data", "/data"}, c.Cmd)
	require.Equal(t, "/data", c.WorkingDir)
	require.Contains(t, c.Volumes, "/data")
	for _, port := range []string{"9876/tcp", "10909/tcp", "10911/tcp", "5557/tcp"} {
		require.Contains(t, c.ExposedPorts, port)
	}
	container := b.run("from", "apogee:test")
	require.Contains(t, b.run("run", container, "/apogee", "version"), "Apogee")
	root := b.run("mount", container)
	info, err := os.Stat(filepath.Join(root, "data"))
	require.NoError(t, err)
	require.True(t, info.IsDir())
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	require.Subset(t, []string{"apogee", "data", "dev", "etc", "proc", "run", "sys"}, names, "the binary, its folder and what running it needs")
}
