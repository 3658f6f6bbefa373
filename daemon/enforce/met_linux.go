// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"context"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// Met is a process that did something outside of what the kernel side records.
type Met struct {
	Governed       bool
	Session, Agent string // of a governed process; empty while it is recognised, see Recall
	// Process is what is known of it; its PID is 0 if it ended before it was looked at.
	Process session.Process

	key uint64 // of a session that is not recognised yet
}

// Meet looks at a process. alive says that its number is certainly still its own when
// this returns; else nothing that procfs shows is believed.
func (e *Enforcer) Meet(pid int, alive bool) Met {
	var m Met
	if p, err := e.Kernel.Lookup(pid); err == nil && p.Session != canarySession {
		m.Governed, m.key = true, p.Session
		m = e.Recall(m)
	} else if b, was := e.left(pid); was {
		m.Governed, m.Session, m.Agent = true, b.session.id, b.session.agent
	}
	if alive {
		m.Process = e.describe(pid)
	}
	return m
}

// Recall fills in what could not be known of a process when it was met: its session may
// be recognised by now, or be none.
func (e *Enforcer) Recall(m Met) Met {
	if m.key == 0 || m.Session != "" {
		return m
	}
	if s := e.marks.find(m.key); s != nil {
		m.Session, m.Agent = s.id, s.agent
	} else if _, none := e.marks.rejected.get(m.key); none {
		m.Governed, m.key = false, 0
	}
	return m
}

// bygone is a governed process that ended.
type bygone struct {
	session *mark
	at      time.Time
}

// bygoneFor is how long a process's number is taken for its own after it has ended.
const bygoneFor = 5 * time.Second

// exitLimit bounds how long it is waited for the record of an exit.
const exitLimit = 100 * time.Millisecond

// left returns a governed process that ended. The kernel forgets it before its exit is
// read: what was on its way is waited for.
func (e *Enforcer) left(pid int) (bygone, bool) {
	ctx, cancel := context.WithTimeout(e.ctx, exitLimit)
	defer cancel()
	e.caughtUp(ctx, ebpf.Volume)
	b, was := e.bygone.get(pid)
	return b, was && time.Since(b.at) < bygoneFor
}

// Describe adds what is known of a process to an event.
func (m *Met) Describe(a map[string]any, pid int) {
	a[telemetry.AttrProcessPID] = int64(pid)
	if m.Agent != "" {
		a[telemetry.AttrAgent] = m.Agent
	}
	p := &m.Process
	if p.PID == 0 {
		return
	}
	a[telemetry.AttrProcessStart], a[telemetry.AttrProcessUserID] = int64(p.Start), int64(p.UID)
	a[telemetry.AttrProcessCommandArgs] = p.Args
	for name, v := range map[string]string{telemetry.AttrProcessExecutablePath: p.Exe, telemetry.AttrProcessOwner: p.User, telemetry.AttrProcessWorkingDir: p.Cwd} {
		if v != "" {
			a[name] = v
		}
	}
}
