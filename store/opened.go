package store

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// opened is apogee/opened.json: who has the store open, to tell a kill of this server, after which the kernel has all that was
// written, from everything else.
type opened struct {
	// Boot names the run of the machine's kernel.
	Boot string `json:"boot"`
	// Stamp is the one of the file abort, see queueList.
	Stamp int64 `json:"stamp"`
}

func openedPath(dir string) string { return filepath.Join(dir, ownDir, "opened.json") }

// onlyKilled reports whether the server that left the abort file with this stamp was ours and the kernel still runs that it ran
// on: then what is in the files is what was written to them.
func onlyKilled(dir string, stamp int64) bool {
	b, err := os.ReadFile(openedPath(dir))
	var o opened
	if err != nil || json.Unmarshal(b, &o) != nil {
		return false
	}
	return stamp != 0 && o.Stamp == stamp && o.Boot != "" && o.Boot == bootID()
}

// writeOpened notes that the store is open. It need not reach the disk: after a power cut it says nothing.
func writeOpened(dir string, stamp int64) error {
	b, err := json.Marshal(opened{Boot: bootID(), Stamp: stamp})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, ownDir), 0o755); err != nil {
		return wrapFileError(OpWrite, openedPath(dir), err)
	}
	if err := os.WriteFile(openedPath(dir), b, 0o644); err != nil {
		return wrapFileError(OpWrite, openedPath(dir), err)
	}
	return nil
}

// bootID names the run of the kernel; empty where the system does not say.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
