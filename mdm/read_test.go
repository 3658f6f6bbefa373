// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"errors"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

func TestRead(t *testing.T) {
	tr := newTree(t)
	tr.write(codexFile, "allow_appshots = false\n")
	tr.write(etc+"/codex/managed_config.toml", "sandbox_mode = \"read-only\"\n")
	layers, incidents := Read(tr.root)
	if len(incidents) > 0 || len(layers) != 2 || layers[0].Kind != codex.System || layers[1].Kind != codex.Legacy ||
		layers[1].Name != "/etc/codex/managed_config.toml" || string(layers[0].Data) != "allow_appshots = false\n" {
		t.Fatalf("%+v, %v", layers, incidents)
	}
	tr.mode(codexFile, 0o666)
	layers, incidents = Read(tr.root)
	if len(layers) != 1 || len(incidents) != 1 || incidents[0].Source != "/etc/codex/requirements.toml" || !errors.Is(incidents[0].Err, ErrNotLocked) {
		t.Errorf("%+v, %v", layers, incidents)
	}
}

// A cohort of certain hosts is one for the daemon, and what Codex would refuse is an
// incident for it, though what Paddock enforces goes on.
func TestLoadKnowsTheMachine(t *testing.T) {
	tr := newTree(t)
	tr.write("/etc/hostname", "devbox-7.example.com\n")
	tr.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
	tr.write(paddockFile, "[paddock]\nmode = \"observe\"\n[[paddock.cohort]]\nname = \"boxes\"\nhosts = [\"devbox-*\"]\nrequirements.paddock.mode = \"enforce\"\n")
	tr.write(codexFile, "allowed_sandbox_modes = []\n")
	if got := Subject(tr.root); got.Host != "devbox-7.example.com" || got.MachineID != "0123456789abcdef0123456789abcdef" {
		t.Errorf("subject %+v", got)
	}
	r := NewLoader(tr.root, t.TempDir(), nil).Load()
	if r.Requirements.Mode != policy.Enforce || r.Strictest {
		t.Errorf("mode %s, strictest %t", r.Requirements.Mode, r.Strictest)
	}
	if len(r.Incidents) != 1 || r.Incidents[0].Source != "all layers together" {
		t.Errorf("incidents %v", r.Incidents)
	}
	tr.write("/etc/hostname", "laptop\n")
	if r := NewLoader(tr.root, t.TempDir(), nil).Load(); r.Requirements.Mode != policy.Observe {
		t.Errorf("mode %s on a machine outside of the cohort", r.Requirements.Mode)
	}
}
