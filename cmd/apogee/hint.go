package main

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/apogee-mq/apogee/store"
)

// hints say what a person can do about errors that keep a server from starting. The first that matches counts.
var hints = []struct {
	cause error
	text  string
}{
	{store.ErrInUse, "stop that process, or choose another folder with --data or storePathRootDir"},
	{syscall.EADDRINUSE, "stop what listens there, or choose another port with --namesrv-port, --broker-port or listenPort"},
	{syscall.EADDRNOTAVAIL, "bindAddress must be an address of this machine"},
	{syscall.EACCES, "choose a folder and ports that this user may use, with --data or storePathRootDir and listenPort"},
	{syscall.ENOTDIR, "choose another folder with --data or storePathRootDir"},
	{syscall.EROFS, "choose a folder on a writable disk with --data or storePathRootDir"},
	{syscall.ENOSPC, "make room on the disk"},
}

// withHint adds what can be done about err.
func withHint(err error) error {
	for _, h := range hints {
		if errors.Is(err, h.cause) {
			return fmt.Errorf("%w; %s", err, h.text)
		}
	}
	return err
}
