// SPDX-License-Identifier: Apache-2.0

package otelcol

import "syscall"

// dieWithTest: a test that is killed leaves no Collector behind.
func dieWithTest() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
