package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// brokerConf is the broker.conf both kinds of server get; a test's own settings win.
func (t *Target) brokerConf() map[string]string {
	store := t.StorePath()
	conf := map[string]string{
		"brokerClusterName":           t.ClusterName,
		"brokerName":                  t.BrokerName,
		"brokerId":                    "0",
		"brokerRole":                  "ASYNC_MASTER",
		"flushDiskType":               "ASYNC_FLUSH",
		"listenPort":                  strconv.Itoa(t.ports.broker),
		"haListenPort":                strconv.Itoa(t.ports.broker + 1),
		"brokerIP1":                   "127.0.0.1",
		"brokerIP2":                   "127.0.0.1",
		"namesrvAddr":                 t.namesrvs(),
		"storePathRootDir":            store,
		"storePathCommitLog":          filepath.Join(store, "commitlog"),
		"mappedFileSizeCommitLog":     strconv.Itoa(16 << 20),
		"mappedFileSizeConsumeQueue":  "60000",
		"maxHashSlotNum":              "50000",
		"maxIndexNum":                 "200000",
		"autoCreateTopicEnable":       "true",
		"autoCreateSubscriptionGroup": "true",
		"enablePropertyFilter":        "true",
		// A loaded machine must not make a scenario fail with SYSTEM_BUSY.
		"brokerFastFailureEnable":     "false",
		"osPageCacheBusyTimeOutMills": "60000",
	}
	for k, v := range t.conf {
		if conf[k] = v; v == "" {
			delete(conf, k)
		}
	}
	return conf
}

func (t *Target) brokerConfPath() string  { return filepath.Join(t.Dir, "broker.conf") }
func (t *Target) namesrvConfPath() string { return filepath.Join(t.Dir, "namesrv.conf") }

func (t *Target) writeConf() error {
	if err := writeProperties(t.brokerConfPath(), t.brokerConf()); err != nil {
		return err
	}
	conf := map[string]string{
		"listenPort":      strconv.Itoa(t.ports.namesrv),
		"kvConfigPath":    filepath.Join(t.Dir, "kvConfig.json"),
		"configStorePath": filepath.Join(t.Dir, "namesrv.properties"),
	}
	for k, v := range t.nsConf {
		conf[k] = v
	}
	return writeProperties(t.namesrvConfPath(), conf)
}

// SetConf changes a key of broker.conf for the next start of the broker.
func (t *Target) SetConf(key, value string) error {
	t.conf[key] = value
	return t.writeConf()
}

func writeProperties(path string, kv map[string]string) error {
	lines := make([]string, 0, len(kv))
	for k, v := range kv {
		lines = append(lines, k+"="+v+"\n")
	}
	sort.Strings(lines)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
