// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package approval

// Protect keeps other programs of its user from speaking through the calling
// process. There is nothing to do yet where the daemon does not run.
func Protect() error { return nil }
