// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// mark is what an event needs to know of its session.
type mark struct {
	key   uint64
	id    string
	agent string
	// refused says that its start was refused: whatever is held of it dies.
	refused bool
}

// pending is a session key the kernel gave out whose process is not recognised
// yet.
type pending struct {
	done chan struct{}
	mark *mark // nil when it was no agent
}

// sessions joins the kernel's session keys with the table of sessions.
type sessions struct {
	e *Enforcer

	mu       sync.Mutex
	pending  map[uint64]*pending
	known    map[uint64]*mark
	ended    []uint64 // keys in known whose session is over, oldest first
	rejected *memo[uint64, bool]
	refused  *memo[uint64, bool] // keys whose start is refused
	noted    *memo[string, bool] // what was told of starts: see once
	fresh    bool                // one has begun since the boundary was looked up
}

const keepEnded = 1024

func (s *sessions) init(e *Enforcer) {
	s.e = e
	s.pending = map[uint64]*pending{}
	s.known = map[uint64]*mark{}
	s.rejected = newMemo[uint64, bool](65536)
	s.refused = newMemo[uint64, bool](1024)
	s.noted = newMemo[string, bool](4096)
}

// expect notes a key before its question is answered.
func (s *sessions) expect(key uint64) *pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[key]
	if p == nil && s.known[key] == nil {
		p = &pending{done: make(chan struct{})}
		s.pending[key] = p
	}
	return p
}

// announced says whether a key is known or being recognised.
func (s *sessions) announced(key uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[key] != nil || s.pending[key] != nil
}

// find returns the session of a key that was recognised, else nil.
func (s *sessions) find(key uint64) *mark {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[key]
}

// resolve answers what a key is; m is nil for no agent's.
func (s *sessions) resolve(key uint64, m *mark) {
	s.mu.Lock()
	p := s.pending[key]
	delete(s.pending, key)
	if m != nil {
		s.known[key] = m
	} else {
		s.rejected.put(key, true)
	}
	s.mu.Unlock()
	if p != nil {
		p.mark = m
		close(p.done)
	}
}

// awaitLimit is how long a record waits for its session to be recognised.
const awaitLimit = 10 * time.Second

// await returns the session of a key, after its recognition. Another ring may
// be ahead of the one that announces the key.
func (s *sessions) await(key uint64) (*mark, bool) {
	s.mu.Lock()
	if m := s.known[key]; m != nil {
		s.mu.Unlock()
		return m, true
	}
	s.mu.Unlock()
	if _, no := s.rejected.get(key); no {
		return nil, false
	}
	p := s.expect(key)
	if p == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		m := s.known[key]
		return m, m != nil
	}
	timer := time.NewTimer(awaitLimit)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.mark, p.mark != nil
	case <-s.e.ctx.Done():
		return nil, false
	case <-timer.C:
		// Never announced: it is governed all the same, as a session nobody knows.
		m := s.begin(key, session.Match{Agent: "unknown", Surface: session.SurfaceCLI}, session.Process{}, session.HowScan)
		s.e.Log.Error("records of a session that was never announced", "key", key)
		return m, true
	}
}

// once says whether what was found about a start is new in a session: an agent starts
// itself again for many purposes.
func (s *sessions) once(key uint64, l *launch) bool {
	said := fmt.Sprint(key, l.started.Agent)
	for _, j := range l.judged {
		said += "\x00" + j.What
	}
	if _, before := s.noted.get(said); before {
		return false
	}
	s.noted.put(said, true)
	return true
}

// begin makes a session of a key.
func (s *sessions) begin(key uint64, m session.Match, p session.Process, how string) *mark {
	s.mu.Lock()
	begun := s.known[key]
	s.mu.Unlock()
	if begun != nil { // taken over before its question was read
		return begun
	}
	started := s.e.Sessions.Start(key, m, p, how)
	s.e.Changed() // a daemon killed a moment later must find it
	_, refused := s.refused.get(key)
	out := &mark{key: key, id: started.ID, agent: started.Agent, refused: refused}
	s.e.watchWoken()
	s.e.stats.events.Add(1)
	s.e.record(s.e.sessionStart(started))
	s.mu.Lock()
	s.fresh = true
	s.mu.Unlock()
	if err := s.e.bind(key, started); err != nil {
		s.e.Log.Error("a session has no boundary", "session", started.ID, "error", err)
	}
	s.resolve(key, out)
	return out
}

// endLimit is how long the end of a session waits for what is still to be told of it.
const endLimit = 2 * time.Second

// told waits until what the kernel has said by now is recorded: what a session was refused, and what it was asked about, comes
// by other rings than its last exit, and is part of what its end tells.
func (s *sessions) told() {
	ctx, cancel := context.WithTimeout(s.e.ctx, endLimit)
	defer cancel()
	for ring := range s.e.readers {
		s.e.caughtUp(ctx, ebpf.Ring(ring))
	}
}

// look ends a session when none of its processes is left. It must not keep a reader of a ring waiting.
func (s *sessions) look(key uint64) {
	if !s.over(key) {
		return
	}
	s.told()
	if s.over(key) { // none came while it was waited
		s.end(key)
	}
}

func (s *sessions) over(key uint64) bool {
	counts, err := s.procs()
	if err != nil {
		s.e.Log.Error("counting a session's processes", "error", err)
		return false
	}
	return counts[key] == 0
}

// procs counts the processes of each session.
func (s *sessions) procs() (map[uint64]int, error) {
	procs, err := s.e.Kernel.Procs()
	if err != nil {
		return nil, err
	}
	counts := map[uint64]int{}
	for _, p := range procs {
		counts[p.Session]++
	}
	return counts, nil
}

func (s *sessions) end(key uint64) {
	ended, ok := s.e.Sessions.End(key)
	if !ok {
		return
	}
	if err := s.e.Kernel.EndSession(key); err != nil {
		s.e.Log.Error("ending a session", "session", ended.ID, "error", err)
	}
	s.e.unbind(key)
	s.mu.Lock()
	s.ended = append(s.ended, key)
	for len(s.ended) > keepEnded { // late records may still name it
		delete(s.known, s.ended[0])
		s.ended = s.ended[1:]
	}
	s.mu.Unlock()
	if s.e.Approvals != nil {
		s.e.Approvals.EndSession(ended.ID)
	}
	s.e.stats.events.Add(1)
	s.e.record(s.e.sessionEnd(ended))
	s.e.Ended(ended.ID)
	s.e.Changed()
}

// sweepEvery is how often sessions are compared with what is marked.
const sweepEvery = 2 * time.Second

// sweep ends sessions whose last exit was not seen to be the last, and stops
// watching system calls when no session needs it.
func (s *sessions) sweep() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	refreshed := time.Now()
	for {
		select {
		case <-s.e.ctx.Done():
			return
		case <-s.e.lookups.answered: // what is there is to be bound at once
			refreshed = time.Time{}
		case <-ticker.C:
		}
		s.e.reportLosses()
		s.e.sweepAsks()
		s.e.watchWoken()
		live := s.e.Sessions.Live()
		if live == 0 {
			continue
		}
		s.mu.Lock()
		fresh := s.fresh
		s.fresh = false
		s.mu.Unlock()
		if fresh || time.Since(refreshed) > refreshEvery {
			refreshed = time.Now()
			if err := s.e.refreshBoundary(fresh); err != nil {
				s.e.Log.Error("the boundary", "error", err)
			}
		}
		before := s.e.Sessions.List()
		counts, err := s.procs()
		if err != nil {
			s.e.Log.Error("counting processes", "error", err)
			continue
		}
		for _, old := range before {
			if old.Live() && counts[old.Key] == 0 {
				s.e.work.Go("ending a session", func() { s.look(old.Key) })
			}
		}
	}
}

// newKey makes a session key like the kernel's own: microsecond and pid.
func newKey(pid int) uint64 {
	return bootTime()>>10<<22 | uint64(pid)&0x3fffff
}

// bootTime is the kernel's clock of the records, in ns.
func bootTime() uint64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) // cannot fail for this clock
	return uint64(t.Nano())
}

// ErrGoverned is returned for a process that belongs to a session already.
var ErrGoverned = errors.New("the process belongs to a session already")

// AgentOf says which agent a command line is of, "run" if of none: what is executed
// is recognised once more.
func (e *Enforcer) AgentOf(argv []string, cwd string) string {
	if len(argv) > 0 {
		m, ok := e.now.Load().profiles.Recognise(session.Process{Called: argv[0], Args: argv, Cwd: cwd})
		if ok {
			return m.Agent
		}
	}
	return "run"
}

// Adopt makes a session of a running process: it and what it starts from now on.
func (e *Enforcer) Adopt(pid int, agent string, argv []string) (*session.Session, error) {
	if e.Governed(pid) {
		return nil, ErrGoverned
	}
	if pid == os.Getpid() || pid <= 1 {
		return nil, fmt.Errorf("process %d cannot be governed", pid)
	}
	p := e.describe(pid)
	p.Start = e.exactly(pid, p.Start)
	if len(argv) > 0 {
		p.Args = argv
	}
	m := session.Match{Agent: agent, Surface: session.SurfaceCLI}
	key := newKey(pid)
	if err := e.Kernel.NewSession(key); err != nil {
		return nil, err
	}
	e.marks.expect(key)
	// First the mark: a session that lives and has no process is ended by the sweep.
	alive, err := e.mark(pid, ebpf.Proc{Session: key, Start: p.Start, Flags: ebpf.ByAgent})
	if err == nil && !alive {
		err = fmt.Errorf("process %d has ended", pid)
	}
	if err != nil {
		e.marks.resolve(key, nil)
		return nil, errors.Join(err, e.Kernel.EndSession(key))
	}
	begun := e.marks.begin(key, m, p, session.HowRun)
	s, _ := e.Sessions.ByID(begun.id)
	return s, nil
}

// Governed says whether a process belongs to a session.
func (e *Enforcer) Governed(pid int) bool {
	_, err := e.Kernel.Lookup(pid)
	return err == nil
}
