// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"errors"
	"os"
	"slices"

	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// scan marks the agents that were running before the daemon, with all their
// descendants. A process may fork between being looked at and being marked, so
// it is repeated until a pass finds nothing new.
func (e *Enforcer) scan() error {
	g := e.now.Load()
	judged := map[int]uint64{} // no agent: pid and start, looked at once
	for pass := 0; pass < 100; pass++ {
		all, err := pids()
		if err != nil {
			return err
		}
		slices.Sort(all)
		stats := map[int]stat{}
		for _, pid := range all {
			if st, err := readStat(pid); err == nil {
				stats[pid] = st
			}
		}
		found := false
		for _, pid := range all {
			st, ok := stats[pid]
			if !ok || pid == os.Getpid() || pid <= 2 || e.Governed(pid) {
				continue
			}
			marked, err := e.scanOne(g, pid, st, judged)
			if err != nil {
				return err
			}
			found = found || marked
		}
		if !found {
			return nil
		}
	}
	e.Log.Warn("running agents forked faster than they could be marked")
	return nil
}

// exactly says when a process began, of which /proc says that it began then, in ticks of 10 ms: as the kernel's records will, for
// all that is told of a process has one start.
func (e *Enforcer) exactly(pid int, start uint64) uint64 {
	began, err := e.Kernel.Began()
	if err != nil {
		e.Log.Error("records of a process that runs already will not match", "pid", pid, "error", err)
		return start
	}
	if at := began[pid]; at/tick*tick == start { // else another one has its number by now
		return at
	}
	return start
}

// mark marks a process that began when p says, and says whether it was still there then: a mark for one that has ended would
// be the next one's with its number.
func (e *Enforcer) mark(pid int, p ebpf.Proc) (alive bool, err error) {
	if err := e.Kernel.Mark(pid, p); err != nil {
		return false, err
	}
	if st, err := readStat(pid); err == nil && st.start == p.Start/tick*tick {
		return true, nil
	}
	return false, e.Kernel.Unmark(pid)
}

// scanOne marks a process that is an agent, or a child of a governed one.
func (e *Enforcer) scanOne(g *generation, pid int, st stat, judged map[int]uint64) (bool, error) {
	if parent, err := e.Kernel.Lookup(st.ppid); err == nil {
		child := ebpf.Proc{Session: parent.Session, Cause: parent.Cause, Start: e.exactly(pid, st.start), Flags: parent.Flags & ebpf.CanaryChild}
		if parent.Flags&ebpf.Agent != 0 {
			child.Flags |= ebpf.ByAgent
		}
		return e.mark(pid, child)
	}
	if judged[pid] == st.start {
		return false, nil
	}
	judged[pid] = st.start
	p := e.describe(pid)
	if p.Exe == "" { // a kernel thread, or gone
		return false, nil
	}
	p.Script = e.script(p, g.profiles)
	l := e.launched(g, nil, p)
	if l == nil {
		return false, nil
	}
	p.Start = e.exactly(pid, p.Start)
	key := newKey(pid)
	if err := e.Kernel.NewSession(key); err != nil {
		return false, err
	}
	if alive, err := e.mark(pid, ebpf.Proc{Session: key, Start: p.Start, Flags: ebpf.Agent}); err != nil || !alive {
		return false, errors.Join(err, e.Kernel.EndSession(key))
	}
	e.enter(g, key, p, l, session.HowScan)
	return true, nil
}
