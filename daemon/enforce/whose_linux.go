// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// unknownCall stands for a tool call whose id is not known any more.
const unknownCall = "unknown"

// Whose returns the session a process belongs to, and the tool call it was started
// in; that is empty for what the agent itself started.
func (e *Enforcer) Whose(pid int) (*session.Session, session.Why, bool) {
	_, s, why, known := e.Member(pid)
	return s, why, known
}

// Member is Whose with the kernel's key of the session.
func (e *Enforcer) Member(pid int) (uint64, *session.Session, session.Why, bool) {
	p, err := e.Kernel.Lookup(pid)
	if err != nil {
		return 0, nil, session.Why{}, false
	}
	m, known := e.marks.await(p.Session)
	if !known {
		return 0, nil, session.Why{}, false
	}
	s, known := e.Sessions.ByID(m.id)
	if !known {
		return 0, nil, session.Why{}, false
	}
	var why session.Why
	if p.Cause != 0 {
		if why, known = e.why(&ebpf.Head{PID: pid, Cause: p.Cause}); !known || why.ToolCallID == "" {
			why.ToolCallID = unknownCall
		}
	}
	return p.Session, s, why, true
}

// Bounded says whether the boundary keeps sessions from files they may not change.
func (e *Enforcer) Bounded() bool {
	g := e.now.Load()
	return g != nil && g.mode == policy.Enforce && g.boundary.policy.Mode != policy.NoBoundary && e.canary.mechanism() != ebpf.None
}

// Inspect looks whether the kernel side is as this daemon left it: see Kernel.Inspect. Where
// another policy is in force, it puts its own into force once more.
func (e *Enforcer) Inspect() []ebpf.Damage {
	e.apply.Lock()
	defer e.apply.Unlock()
	damages := e.Kernel.Inspect(e.now.Load().number)
	for i := range damages {
		if d := &damages[i]; d.Policy {
			if err := e.reinstall(); err != nil {
				d.Err = fmt.Errorf("%w; putting the right one into force: %w", d.Err, err)
				continue
			}
			d.Mended = true
		}
	}
	return damages
}
