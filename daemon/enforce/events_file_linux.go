// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// fileEvent reports what the boundary kept a session from.
func (e *Enforcer) fileEvent(s *mark, r *ebpf.File) telemetry.Event {
	name := telemetry.NameFileDecision
	gate := "boundary"
	severity := telemetry.Warn
	switch r.Op {
	case ebpf.OpConnect:
		gate = "unix"
	case ebpf.OpPtrace, ebpf.OpPriority, ebpf.OpKey, ebpf.OpIPC:
		name, gate, severity = telemetry.NameTamper, "ptrace", telemetry.Error
	case ebpf.OpBPF, ebpf.OpMount, ebpf.OpUnmount, ebpf.OpModule, ebpf.OpTerminal:
		name, gate, severity = telemetry.NameTamper, "machine", telemetry.Error
	}
	ev, a := e.event(name, s, &r.Head)
	ev.Severity = severity
	g := e.now.Load()
	a[telemetry.AttrGate] = gate
	a[telemetry.AttrTier] = string(e.canary.mechanism())
	a[telemetry.AttrProcessUserID] = int64(r.UID)
	a[telemetry.AttrDecision] = "deny"
	a[telemetry.AttrDecisionEnforced] = r.Enforced
	a[telemetry.AttrMode] = g.mode.String()
	a[telemetry.AttrPolicyGeneration] = int64(g.number)
	a[telemetry.AttrDecisionReason] = r.Why.String()
	if exe := readLink(r.PID, "exe"); exe != "" {
		a[telemetry.AttrProcessExecutablePath] = exe
	}
	if name == telemetry.NameTamper {
		a[telemetry.AttrTamperOperation] = r.Op.String()
		if r.Op == ebpf.OpPtrace || r.Op == ebpf.OpPriority {
			a[telemetry.AttrTamperTarget] = int64(r.Target)
		}
		return ev
	}
	a[telemetry.AttrFileOperation] = r.Op.String()
	if len(r.Parts) > 0 {
		a[telemetry.AttrFilePath] = e.pathOf(r)
	}
	if r.ID.Ino != 0 {
		a[telemetry.AttrFileID] = fileID(r.ID)
	}
	return ev
}

// pathOf puts a path together from the names the kernel saw on its way up: as it is
// on this machine, wherever the session has it in a view of its own.
func (e *Enforcer) pathOf(r *ebpf.File) string {
	inside := "/" + strings.Join(r.Parts, "/")
	if !r.Rooted {
		return "..." + inside // too deep to be carried whole
	}
	all, err := mounts()
	if err != nil {
		return inside
	}
	if p := pathOn(all, r.ID.Dev, inside); p != "" {
		return p
	}
	return inside
}
