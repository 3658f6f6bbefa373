// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package vm

import "syscall"

// dieWithParent is for Linux; elsewhere the package only has to compile.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
