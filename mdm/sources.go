// SPDX-License-Identifier: Apache-2.0

package mdm

// source is one place where requirements may be.
type source struct {
	name string // what people call it, and what errors, events and rules name
	path string // where the file is, under the root of the loader
	keep string // the file name of its last-known-good, which must never change
}

// sources lists them from low to high, in Codex's order (0.169.0) with Paddock's
// own file after Codex's.
func sources() []source {
	return []source{
		{name: "/etc/codex/requirements.toml", path: etc + "/codex/requirements.toml", keep: "system-codex.toml"},
		{name: "/etc/paddock/requirements.toml", path: etc + "/paddock/requirements.toml", keep: "system-paddock.toml"},
	}
}
