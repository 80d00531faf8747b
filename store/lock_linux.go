package store

import "golang.org/x/sys/unix"

// setLockCommand locks on behalf of the open file, not of the process: a second Open in this process is refused too, and
// closing another descriptor of the file does not drop the lock. It conflicts with the locks of F_SETLK, which is Java's.
const setLockCommand = unix.F_OFD_SETLK

// getLockCommand asks who would be in the way of setLockCommand.
const getLockCommand = unix.F_OFD_GETLK
