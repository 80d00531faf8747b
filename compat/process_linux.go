package compat

import "syscall"

// childAttr makes a child end with the test process, even when that is killed or runs into its time limit.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
