// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package codex

import "os/exec"

// OwnGroup has nothing to do: Codex runs in a network namespace, and those are Linux's.
func OwnGroup(*exec.Cmd) {}
