// SPDX-License-Identifier: Apache-2.0

package otelcol

import "syscall"

func dieWithTest() *syscall.SysProcAttr { return nil }
