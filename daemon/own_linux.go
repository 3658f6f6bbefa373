// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"os"
	"path/filepath"
)

// manages are where requirements and the managed configuration of agents lie, and
// what starts Paddock: below Config.Root.
var manages = []string{
	"/etc/paddock", "/etc/codex", "/etc/claude-code", "/etc/gemini-cli", "/etc/opencode", "/etc/cursor",
	"/etc/systemd/system/paddock.service", "/etc/systemd/system/paddock.service.d", "/etc/systemd/user/paddock-companion.service",
	"/usr/lib/systemd/system/paddock.service", "/lib/systemd/system/paddock.service", "/usr/lib/systemd/user/paddock-companion.service",
}

// own lists what no session writes to: Paddock's program, its files, and what tells
// it and the agents what to do.
func (d *Daemon) own() []string {
	out := []string{d.config.StateDir, d.config.RunDir}
	for _, p := range manages {
		out = append(out, filepath.Join(d.config.Root, p))
	}
	if self, err := os.Executable(); err == nil {
		out = append(out, self)
	}
	for i, p := range out {
		if abs, err := filepath.Abs(p); err == nil {
			out[i] = abs
		}
	}
	return out
}
