package admin

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

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

// sign adds who asks and the proof of it: HMAC-SHA1 over the values of all fields in the order of their names, then the body. Apache:
// AclClientRPCHook, AclUtils.combineRequestContent.
func (k credentials) sign(c *codec.Command) {
	if k.accessKey == "" {
		return
	}
	c.Extra = append(c.Extra, codec.Field{Key: "AccessKey", Value: k.accessKey})
	if k.token != "" {
		c.Extra = append(c.Extra, codec.Field{Key: "SecurityToken", Value: k.token})
	}
	fields := slices.Clone(c.Extra)
	slices.SortFunc(fields, func(a, b codec.Field) int { return strings.Compare(a.Key, b.Key) })
	mac := hmac.New(sha1.New, []byte(k.secretKey))
	for _, f := range fields {
		mac.Write([]byte(f.Value))
	}
	mac.Write(c.Body)
	c.Extra = append(c.Extra, codec.Field{Key: "Signature", Value: base64.StdEncoding.EncodeToString(mac.Sum(nil))})
}
