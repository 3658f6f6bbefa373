// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"os"
	"path/filepath"

	"github.com/seed-649e9bbc/paddock/daemon/drift"
)

// manages are where requirements and the managed configuration of agents lie, and
// what starts Paddock: below Config.Root. What is ours is put back when it changes.
var manages = []drift.Place{
	{Path: "/etc/paddock", Role: drift.Requirements},
	{Path: "/etc/codex", Role: drift.Requirements},
	{Path: "/etc/claude-code", Role: drift.Agents},
	{Path: "/etc/gemini-cli", Role: drift.Agents},
	{Path: "/etc/opencode", Role: drift.Agents},
	{Path: "/etc/cursor", Role: drift.Agents},
	{Path: "/etc/qwen-code", Role: drift.Agents},
	{Path: "/etc/systemd/system/paddock.service", Role: drift.Paddock},
	{Path: "/etc/systemd/system/paddock.service.d", Role: drift.Paddock},
	{Path: "/etc/systemd/user/paddock-companion.service", Role: drift.Paddock},
	{Path: "/usr/lib/systemd/system/paddock.service", Role: drift.Paddock, Ours: true},
	{Path: "/lib/systemd/system/paddock.service", Role: drift.Paddock, Ours: true},
	{Path: "/usr/lib/systemd/user/paddock-companion.service", Role: drift.Paddock, Ours: true},
	{Path: "/usr/share/polkit-1/actions/dev.paddock.policy", Role: drift.Paddock, Ours: true},
}

// places are manages and Paddock's programs, as they are on this machine: two names of
// one file are one.
func (d *Daemon) places() []drift.Place {
	var out []drift.Place
	seen := map[string]bool{}
	add := func(p drift.Place) {
		if abs, err := filepath.Abs(p.Path); err == nil {
			p.Path = abs
		}
		if dir, err := filepath.EvalSymlinks(filepath.Dir(p.Path)); err == nil { // /lib is a link on most machines
			if real := filepath.Join(dir, filepath.Base(p.Path)); seen[real] {
				return
			} else {
				seen[real] = true
			}
		}
		out = append(out, p)
	}
	for _, p := range manages {
		p.Path = filepath.Join(d.config.Root, p.Path)
		add(p)
	}
	if self, err := os.Executable(); err == nil {
		add(drift.Place{Path: self, Role: drift.Paddock})
	}
	add(drift.Place{Path: d.config.Companion, Role: drift.Paddock})
	return out
}

// own lists what no session writes to: Paddock's program, its files, and what tells
// it and the agents what to do.
func (d *Daemon) own() []string {
	out := []string{d.config.StateDir, d.config.RunDir, d.config.Companion}
	for _, p := range manages {
		out = append(out, filepath.Join(d.config.Root, p.Path))
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
