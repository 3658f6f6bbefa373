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
		e.exact(stats)
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

// exact replaces when processes began, which /proc rounds to 10 ms, by what the kernel's records will say: all that is told of
// a process has one start.
func (e *Enforcer) exact(stats map[int]stat) {
	began, err := e.Kernel.Began()
	if err != nil {
		e.Log.Error("records of processes that run already will not match", "error", err)
		return
	}
	for pid, st := range stats {
		if at := began[pid]; at/tick*tick == st.start { // else another one has its number by now
			st.start = at
			stats[pid] = st
		}
	}
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
		child := ebpf.Proc{Session: parent.Session, Cause: parent.Cause, Start: st.start, Flags: parent.Flags & ebpf.CanaryChild}
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
	if p.Start == st.start/tick*tick {
		p.Start = st.start
	}
	if p.Exe == "" { // a kernel thread, or gone
		return false, nil
	}
	p.Script = e.script(p, g.profiles)
	l := e.launched(g, nil, p)
	if l == nil {
		return false, nil
	}
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
