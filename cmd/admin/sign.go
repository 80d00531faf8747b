package admin

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/apogee-mq/apogee/auth"
	"github.com/apogee-mq/apogee/codec"
)

// credentials are what requests are signed with; none are signed when accessKey is empty. Apache: SessionCredentials.
type credentials struct{ accessKey, secretKey, token string }

// findCredentials looks at the options, then at the environment, then at conf/tools.yml of ROCKETMQ_HOME. Apache:
// AclUtils.getAclRPCHook reads the last.
func findCredentials(f *pflag.FlagSet, getenv func(string) string) (credentials, error) {
	var k credentials
	k.accessKey, _ = f.GetString(flagAccessKey)
	k.secretKey, _ = f.GetString(flagSecretKey)
	k.token, _ = f.GetString(flagToken)
	if k.accessKey == "" && k.secretKey == "" {
		k.accessKey, k.secretKey = getenv("APOGEE_ACCESS_KEY"), getenv("APOGEE_SECRET_KEY")
	}
	if home := getenv("ROCKETMQ_HOME"); home != "" && k.accessKey == "" && k.secretKey == "" {
		if err := k.read(filepath.Join(home, "conf", "tools.yml")); err != nil {
			return k, err
		}
	}
	if (k.accessKey == "") != (k.secretKey == "") {
		return k, usageError{"signing needs both --accessKey and --secretKey"}
	}
	return k, nil
}

// read takes accessKey and secretKey from a file of "key: value" lines. A file that is not there is none.
func (k *credentials) read(path string) error {
	file, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("read the keys to sign with: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), ":")
		if !ok || strings.HasPrefix(strings.TrimSpace(key), "#") {
			continue
		}
		value, _, _ = strings.Cut(value, " #")
		value = strings.Trim(strings.TrimSpace(value), `"'`)
		switch strings.TrimSpace(key) {
		case "accessKey":
			k.accessKey = value
		case "secretKey":
			k.secretKey = value
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the keys to sign with: %w", err)
	}
	return nil
}

// sign adds who asks and the proof of it. Apache: AclClientRPCHook.
func (k credentials) sign(c *codec.Command) error {
	if k.accessKey == "" {
		return nil
	}
	return auth.NewSigner(k.accessKey, k.secretKey, k.token).Sign(c)
}
