// SPDX-License-Identifier: Apache-2.0

package rig

import "syscall"

// DieWithTest has a program end with the test, where that can be had.
func DieWithTest() *syscall.SysProcAttr { return nil }
