// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package sandbox

import "errors"

// Version returns 0: there is no Landlock here.
func Version() int { return 0 }

// Restrict fails: there is no Landlock here.
func (Ruleset) Restrict() error {
	return errors.New("entering the sandbox: there is no Landlock on this system")
}
