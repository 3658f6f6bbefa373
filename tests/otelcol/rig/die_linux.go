// SPDX-License-Identifier: Apache-2.0

package rig

import "syscall"

// DieWithTest has a program end with the test: one that is killed leaves no Collector behind.
func DieWithTest() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
