//go:build !linux

package compat

import (
	"errors"
	"os"
)

// dropPages cannot be done here.
func dropPages(*os.File) error { return errors.ErrUnsupported }
