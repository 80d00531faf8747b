//go:build !linux

package compat

import (
	"errors"
	"os"
)

// dropPages cannot be done here.
func dropPages(*os.File) error { return errors.ErrUnsupported }

// flushData writes what is dirty of a file to disk, and what the file system notes of it.
func flushData(f *os.File) error { return f.Sync() }

// freeMemory is not known here.
func freeMemory() (int64, error) { return 0, nil }

// onFirstCore runs f, on any core.
func onFirstCore(f func()) error {
	f()
	return nil
}

// runLast does nothing here.
func runLast() error { return nil }
