// SPDX-License-Identifier: Apache-2.0

package mdm

import "github.com/seed-649e9bbc/paddock/daemon/policy/codex"

// source is one place where requirements may be.
type source struct {
	name string // what people call it, and what errors, events and rules name
	path string // where the file is, under the root of the loader
	keep string // the file name of its last-known-good, which must never change
	kind codex.Kind
}

// sources lists them from low to high, in Codex's order (0.169.0) with Paddock's
// own file after Codex's.
func sources() []source {
	return []source{
		{name: "/etc/codex/requirements.toml", path: etc + "/codex/requirements.toml", keep: "system-codex.toml"},
		{name: "/etc/paddock/requirements.toml", path: etc + "/paddock/requirements.toml", keep: "system-paddock.toml"},
	}
}

// legacy is the file before there were requirements. Only Codex enforces what it can
// require, so that the daemon need not read it.
func legacy() source {
	return source{name: "/etc/codex/managed_config.toml", path: etc + "/codex/managed_config.toml", kind: codex.Legacy}
}
