// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"errors"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// recognise answers a candidate: a process the kernel marked because of its
// program's name. It is an agent, or its mark is taken away.
func (e *Enforcer) recognise(x *ebpf.Exec) {
	g := e.now.Load()
	p := e.described(x, g.profiles)
	if l := e.launched(g, x, p); l != nil {
		e.enter(g, x.Session, p, l, session.HowExec)
		e.agentExec(g, x)
		return
	}
	free, err := e.unmark(x.Session)
	if err != nil {
		e.Log.Error("letting go of a process that is no agent", "pid", x.PID, "error", err)
	}
	// Until now an exec of theirs was one of a governed process, and the kernel did
	// not show it as a candidate: a wrapper goes on as the agent. What is held of
	// them waits until the answer below.
	for _, pid := range free {
		if err := e.lookAgain(g, pid); err != nil {
			e.Log.Error("looking at what a process that is no agent went on as", "pid", pid, "error", err)
		}
	}
	e.marks.resolve(x.Session, nil)
	e.stats.foreign.Add(1)
	e.Events.Owe(-1)
}

// lookAgain marks a process that was let go if it runs an agent by now.
func (e *Enforcer) lookAgain(g *generation, pid int) error {
	if e.Governed(pid) { // a candidate once more
		return nil
	}
	st, err := readStat(pid)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return nil // gone
	}
	if err == nil {
		_, err = e.scanOne(g, pid, st, map[int]uint64{})
	}
	return err
}

// agentExec records the exec of the agent itself. It ran: what rules say of it
// is noted, as in observe mode, since an organisation that forbids an agent
// does so by not installing it.
func (e *Enforcer) agentExec(g *generation, x *ebpf.Exec) {
	s, ok := e.marks.await(x.Session)
	if !ok {
		e.Events.Owe(-1)
		return
	}
	v, _ := e.evaluate(g, x)
	e.stats.events.Add(1)
	e.recordOwed(e.execEvent(s, x, g, v))
}

// unmark lets every process of a session go, those forked meanwhile too, and
// returns them.
func (e *Enforcer) unmark(key uint64) ([]int, error) {
	var free []int
	for {
		procs, err := e.Kernel.Procs()
		if err != nil {
			return free, err
		}
		found := false
		for pid, p := range procs {
			if p.Session == key {
				found = true
				if err := e.Kernel.Unmark(pid); err != nil && !errors.Is(err, ebpf.ErrNoProcess) {
					return free, err
				}
				free = append(free, pid)
			}
		}
		if !found {
			return free, e.Kernel.EndSession(key)
		}
	}
}

// takeOver continues the sessions of the daemon before: those still marked live,
// those without a process have ended meanwhile.
func (s *sessions) takeOver() error {
	counts, err := s.e.Kernel.CountProcs()
	if err != nil {
		return err
	}
	delete(counts, canarySession)
	for _, old := range s.e.Sessions.List() {
		if !old.Live() {
			continue
		}
		if counts[old.Key] > 0 {
			s.resolve(old.Key, &mark{key: old.Key, id: old.ID, agent: old.Agent})
			delete(counts, old.Key)
		} else {
			s.resolve(old.Key, &mark{key: old.Key, id: old.ID, agent: old.Agent})
			s.end(old.Key)
		}
	}
	// Marked, but in no table: its recognition was under way, or the table was
	// lost. Look again.
	for key := range counts {
		s.recogniseAgain(key)
	}
	s.e.watchWoken()
	return nil
}

func (s *sessions) recogniseAgain(key uint64) {
	g := s.e.now.Load()
	procs, err := s.e.Kernel.Procs()
	if err != nil {
		s.e.Log.Error("looking at marked processes", "error", err)
		return
	}
	var members []int
	for pid, p := range procs {
		if p.Session == key {
			members = append(members, pid)
		}
	}
	slices.Sort(members)
	var first session.Process
	for i, pid := range members {
		p := s.e.describe(pid)
		p.Script = s.e.script(p, g.profiles)
		if i == 0 {
			first = p
		}
		if l := s.e.launched(g, nil, p); l != nil {
			s.e.enter(g, key, p, l, session.HowRestart)
			return
		}
	}
	if len(members) == 0 {
		return
	}
	// Governed it was, governed it stays.
	s.begin(key, session.Match{Agent: "unknown", Surface: session.SurfaceCLI}, first, session.HowRestart)
}
