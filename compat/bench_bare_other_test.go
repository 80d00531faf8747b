//go:build !linux

package compat

import (
	"errors"
	"os/exec"
)

var errNoBare = errors.New("the bare server needs epoll: Linux")

func serveBare() error { return errNoBare }

func bareCommand(string) *exec.Cmd { return nil }
