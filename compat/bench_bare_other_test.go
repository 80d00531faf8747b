//go:build !linux

package compat

import (
	"errors"
	"os/exec"
	"time"
)

var errNoBare = errors.New("the bare server needs epoll: Linux")

func serveBare() error { return errNoBare }

func bareCommand(string) *exec.Cmd { return nil }

type bareAlarm struct{}

func newBareAlarm() (bareAlarm, error) { return bareAlarm{}, errNoBare }

func (bareAlarm) wait(time.Duration) error { return errNoBare }

func (bareAlarm) stop() {}
