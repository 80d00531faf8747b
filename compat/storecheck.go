package compat

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// CheckStore has `apogee store check` read the store of a broker that has ended, whoever wrote it. It returns an error with the
// findings when the store is not whole.
func (t *Target) CheckStore() error {
	bin, err := apogeeBinary()
	if err != nil {
		return err
	}
	cmd := exec.Command(bin, "store", "check", t.StorePath(), "--commitlog", t.brokerConf()["storePathCommitLog"])
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("store check of %s: %w\n%s", t.StorePath(), err, out)
	}
	return nil
}

// checkAtEnd is CheckStore where a test ends with a store of ours that was closed cleanly and not damaged on purpose.
func (t *Target) checkAtEnd() error {
	if t.Kind != Apogee || t.alone || t.damaged || t.broker == nil {
		return nil
	}
	if _, err := os.Stat(filepath.Join(t.StorePath(), "abort")); !errors.Is(err, os.ErrNotExist) {
		return nil // the test ended with a kill, or the broker did not start
	}
	if _, err := os.Stat(filepath.Join(t.StorePath(), "checkpoint")); err != nil {
		return nil // no store was opened
	}
	return t.CheckStore()
}
