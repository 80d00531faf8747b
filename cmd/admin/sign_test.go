package admin

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// TestSignaturesAreApaches holds signatures against those of Apache's AclClientRPCHook.
func TestSignaturesAreApaches(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("testdata/acl_signature.json")
	require.NoError(t, err)
	var golden struct {
		Requests []struct {
			Code          int32             `json:"code"`
			AccessKey     string            `json:"access_key"`
			SecretKey     string            `json:"secret_key"`
			SecurityToken string            `json:"security_token"`
			Before        map[string]string `json:"ext_fields_before"`
			Body          string            `json:"body_utf8"`
			After         map[string]string `json:"ext_fields_after"`
		} `json:"requests"`
	}
	require.NoError(t, json.Unmarshal(file, &golden))
	require.NotEmpty(t, golden.Requests)
	for _, r := range golden.Requests {
		c := &codec.Command{Code: r.Code, Body: []byte(r.Body)}
		for k, v := range r.Before {
			c.Extra = append(c.Extra, codec.Field{Key: k, Value: v})
		}
		require.NoError(t, credentials{r.AccessKey, r.SecretKey, r.SecurityToken}.sign(c))
		got := map[string]string{}
		for _, f := range c.Extra {
			got[f.Key] = f.Value
		}
		require.Equal(t, r.After, got)
	}
}

func TestWhereKeysComeFrom(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(home, "conf"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(home, "conf", "tools.yml"),
		[]byte("# keys\naccessKey: \"fileUser\"\nsecretKey: fileSecret # secret\n\nother: x\n"), 0o600))
	env := map[string]string{"ROCKETMQ_HOME": home}
	find := func(args ...string) credentials {
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		for _, name := range []string{flagAccessKey, flagSecretKey, flagToken} {
			f.String(name, "", "")
		}
		require.NoError(t, f.Parse(args))
		k, err := findCredentials(f, func(key string) string { return env[key] })
		require.NoError(t, err)
		return k
	}
	require.Equal(t, credentials{"fileUser", "fileSecret", ""}, find())
	env["APOGEE_ACCESS_KEY"], env["APOGEE_SECRET_KEY"] = "envUser", "envSecret"
	require.Equal(t, credentials{"envUser", "envSecret", ""}, find())
	require.Equal(t, credentials{"me", "mine", "token"}, find("--accessKey=me", "--secretKey=mine", "--securityToken=token"))
	require.Equal(t, credentials{}, func() credentials { env = nil; return find() }())
}
