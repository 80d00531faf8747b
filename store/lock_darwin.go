package store

import "golang.org/x/sys/unix"

// setLockCommand locks on behalf of the process, as Java does.
const setLockCommand = unix.F_SETLK

// getLockCommand asks who would be in the way of setLockCommand.
const getLockCommand = unix.F_GETLK
