// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// settled is how old a file's last change must be before an answer about it is
// remembered. Two changes within one step of the clock leave the same time.
const settled = 2 * time.Second

// judge answers a hold. Whatever cannot be judged is killed.
func (e *Enforcer) judge(x *ebpf.Exec) {
	h, err := e.Kernel.Hold(x)
	if err != nil {
		// It died meanwhile, or the kernel could not deliver the stop and
		// killed it, or nobody was there to judge it.
		if !errors.Is(err, ebpf.ErrNotHeld) {
			e.Log.Error("taking a hold", "pid", x.PID, "error", err)
		}
		e.died(x)
		return
	}
	defer h.Close()
	if x.Session == canarySession {
		e.Events.Owe(-1)
		e.canary.answer(h, x)
		return
	}
	s, known := e.marks.await(x.Session)
	if !known { // no agent's after all
		e.stats.foreign.Add(1)
		e.Events.Owe(-1)
		e.settle(h.Release(), h, x)
		return
	}
	g := e.now.Load()
	if x.Flags.Has(ebpf.FromAgent) {
		e.fromAgent(g, s, x)
	}
	v, memory := e.evaluate(g, x)
	e.stats.evaluated.Add(1)
	if path, _ := e.paths.get(x.Exe.Inode()); g.profiles.MayBe(x.Name, x.Path, path) {
		memory = forNothingElse // how it is started the next time is to be seen
		if why, refused := e.nested(g, h, x, s, e.launched(g, x, e.described(x, g.profiles))); refused {
			v = why
		}
	}
	if s.refused {
		v = policy.Verdict{Decision: policy.Forbidden, Reason: "the start of its agent is refused"}
	}
	switch {
	case v.Decision == policy.Allow || g.mode == policy.Observe:
		if v.Decision == policy.Allow {
			e.remember(x, memory)
		}
		e.settle(h.Release(), h, x)
	case v.Decision == policy.Prompt && e.Approvals != nil:
		e.Events.Owe(-1) // its event follows the answer, which a successor may have to give
		e.ask(h, x, s, g, v)
		return
	default:
		if v.Decision == policy.Prompt {
			v.Reason = "nobody to ask: " + v.Reason
		}
		e.tell(h, x, v)
		if err := h.Kill(); err != nil {
			e.Log.Error("killing what is forbidden", "pid", x.PID, "error", err)
		}
	}
	e.stats.events.Add(1)
	e.recordOwed(e.execEvent(s, x, g, v))
}

// died records an exec whose process has ended before it was judged.
func (e *Enforcer) died(x *ebpf.Exec) {
	var s *mark
	known := x.Session != canarySession
	if known {
		s, known = e.marks.await(x.Session)
	}
	if !known {
		e.Events.Owe(-1)
		return
	}
	e.stats.events.Add(1)
	e.recordOwed(e.diedEvent(s, x))
}

// slow are holds that need more than their record: see quick.
const slow = ebpf.FromAgent | ebpf.Script | ebpf.Unlinked | ebpf.Foreign | ebpf.ArgvCut | ebpf.ArgvUnread | ebpf.PathCut

// quick answers what may run and is known without reading a file or waiting for
// anybody, and says whether it did. It runs where holds are read, so that the
// most frequent answer is not handed from one thread to another first.
func (e *Enforcer) quick(x *ebpf.Exec) bool {
	if x.Action == ebpf.ExecCandidate || x.Session == canarySession || x.Flags&slow != 0 {
		return false
	}
	s := e.marks.find(x.Session)
	if s == nil || s.refused {
		return false
	}
	path, known := e.paths.get(x.Exe.Inode())
	if !known || e.now.Load().profiles.MayBe(x.Name, x.Path, path) {
		return false // how an agent is started, its environment shows
	}
	h, err := e.Kernel.Hold(x)
	if err != nil {
		return false
	}
	defer h.Close()
	g := e.now.Load()
	p := &untouched{}
	v, memory := e.weigh(g, x, p, func() (digest, error) {
		sum, ok := e.hashKnown(x)
		p.asked = p.asked || !ok
		return sum, nil
	})
	if p.asked || v.Decision != policy.Allow && g.mode != policy.Observe {
		return false
	}
	e.settle(h.Release(), h, x)
	if v.Decision == policy.Allow {
		e.remember(x, memory)
	}
	e.stats.evaluated.Add(1)
	e.answered <- answered{s, x, g, v}
	return true
}

// untouched is a process of which no file may be looked at. It notes when one
// would have to be.
type untouched struct{ asked bool }

func (u *untouched) file(string) []string {
	u.asked = true
	return nil
}

func (u *untouched) lost() error { return nil }

// answered is a hold of which the event is still to be written.
type answered struct {
	session *mark
	exec    *ebpf.Exec
	under   *generation
	verdict policy.Verdict
}

// settle makes sure that what could not be released does not stay stopped.
func (e *Enforcer) settle(err error, h *ebpf.Held, x *ebpf.Exec) {
	if err == nil || errors.Is(err, ebpf.ErrNotHeld) {
		return
	}
	e.Log.Error("releasing a process", "pid", x.PID, "error", err)
	_ = h.Kill()
}

// fromAgent looks at a program the agent's own process started: it may be a tool
// call, named in the environment, or another process of the agent itself.
func (e *Enforcer) fromAgent(g *generation, s *mark, x *ebpf.Exec) {
	p, err := e.Kernel.Lookup(x.PID)
	if err != nil {
		return
	}
	why := e.Profiles.Why(readEnv(x.PID, e.envKeys))
	cause := e.causes.number(why)
	proc := e.described(x, g.profiles)
	own, found := g.profiles.Recognise(proc)
	changed := false
	if p.Session != x.Session { // it ended meanwhile, and its number is another's
		return
	}
	if found && own.Agent == s.agent {
		p.Flags |= ebpf.Agent
		changed = true
	}
	if cause != 0 && cause != p.Cause {
		p.Cause, x.Cause = cause, cause
		changed = true
	}
	if changed {
		err := e.Kernel.Remark(x.PID, p)
		if err != nil && !errors.Is(err, ebpf.ErrNoProcess) { // its agent may kill it at any time
			e.Log.Error("marking a process of the agent", "pid", x.PID, "error", err)
		}
	}
}

// memory says for what an answer holds.
type memory int

const (
	forNothingElse memory = iota
	forTheCommand         // the same file, called the same, with the same arguments
	forTheProgram         // whatever its arguments
)

// evaluate asks the policy about every command an exec stands for and returns
// the strictest answer, and for what it may be remembered.
func (e *Enforcer) evaluate(g *generation, x *ebpf.Exec) (policy.Verdict, memory) {
	return e.weigh(g, x, &processView{e: e, g: g, pid: x.PID}, func() (digest, error) { return e.hashOf(x) })
}

// weigh evaluates with p for the process's files and content for its program's.
func (e *Enforcer) weigh(g *generation, x *ebpf.Exec, p process, content func() (digest, error)) (policy.Verdict, memory) {
	args := x.Args()
	remember := x.Cacheable() && x.Generation == g.number
	if x.Flags&(ebpf.ArgvCut|ebpf.ArgvUnread) != 0 || len(args) == 0 {
		remember = false
		if full, err := readCmdline(x.PID); err == nil && len(full) > 0 && (stands(x) || e.programPath(x) != "") {
			args = full
		} else if x.Flags.Has(ebpf.ArgvUnread) {
			return policy.Verdict{Decision: policy.Forbidden, Reason: "its arguments could not be read"}, forNothingElse
		}
	}
	if x.Flags.Has(ebpf.PathCut) {
		x.Path = fullPath(x.Path, args)
	}
	exe := x.Exe
	if x.Flags.Has(ebpf.Foreign) {
		exe.Size = e.sizeOf(x)
	}
	names, err := g.catalog.names(exe, content)
	if err != nil && !errors.Is(err, errMovedOn) { // who has moved on runs already, and is judged by the names that are known
		return policy.Verdict{Decision: policy.Forbidden, Reason: "its program could not be read: " + err.Error()}, forNothingElse
	}
	names = addName(names, x.Name)
	if path := e.programPath(x); filepath.IsAbs(path) {
		names = addName(names, path)
		e.paths.learn(x.PID, x.Exe.Inode(), path)
	}
	if cwd := e.workPath(x); cwd != "" {
		e.paths.learn(x.PID, x.Cwd, cwd)
	}
	var worst policy.Verdict
	all := subjects(x, args, names, p, g)
	if err := p.lost(); err != nil {
		return policy.Verdict{Decision: policy.Forbidden, Reason: "a file that it is to run could not be read: " + err.Error()}, forNothingElse
	}
	for i, sub := range all {
		remember = remember && sub.alone
		v := g.rules.Decide(sub.Command)
		// Of rules that ask, one that is for people alone counts more.
		if i == 0 || v.Decision > worst.Decision || v.Decision == worst.Decision && v.Rule.HumanOnly && !worst.Rule.HumanOnly {
			worst = v
		}
	}
	if !remember {
		return worst, forNothingElse
	}
	// By every name it was judged by: a copy of a program that rules are about
	// may be called anything.
	if _, _, whatever := g.rules.Program(all[0].Names); whatever {
		return worst, forTheProgram
	}
	return worst, forTheCommand
}

// remember lets the kernel allow the same again by itself.
func (e *Enforcer) remember(x *ebpf.Exec, m memory) {
	if !unchanging(x) {
		return
	}
	var err error
	switch m {
	case forTheProgram:
		err = e.Kernel.CacheProgram(x)
	case forTheCommand:
		err = e.Kernel.CacheCommand(x)
	}
	if err != nil {
		e.Log.Debug("remembering an answer", "error", err)
	}
}

// hashKnown is hashOf, if that was read before and is still true.
func (e *Enforcer) hashKnown(x *ebpf.Exec) (digest, bool) {
	sum, ok := e.hashes.get(x.Exe)
	return sum, ok && unchanging(x)
}

// unchanging says that a change of the program's file would show in its identity.
func unchanging(x *ebpf.Exec) bool {
	return time.Since(time.Unix(x.Exe.CtimeSec, int64(x.Exe.CtimeNsec))) > settled &&
		x.Flags&(ebpf.Unlinked|ebpf.Foreign) == 0
}

// sizeOf asks the file system for the size of the program, in bytes: the kernel
// may have an old one in mind. Where the daemon may not ask (FUSE), that stays.
func (e *Enforcer) sizeOf(x *ebpf.Exec) uint64 {
	var size atomic.Uint64
	size.Store(x.Exe.Size)
	_, _ = e.bounded.do(func() (digest, error) {
		info, err := os.Stat(procPath(x.PID, "exe"))
		if err == nil {
			size.Store(uint64(info.Size()))
		}
		return digest{}, err
	})
	return size.Load()
}

// hashOf reads the program the kernel runs: procfs gives that very file, however
// it is called and whether it still has a name.
func (e *Enforcer) hashOf(x *ebpf.Exec) (digest, error) {
	if sum, ok := e.hashKnown(x); ok {
		return sum, nil
	}
	sum, err := e.bounded.do(func() (digest, error) {
		f, err := e.program(x)
		if err != nil {
			return digest{}, err
		}
		defer f.Close()
		return hash(f)
	})
	if err == nil && unchanging(x) {
		e.hashes.put(x.Exe, sum)
	}
	return sum, err
}

// described is what recognition looks at, with what the kernel saw at exec in
// place of what the process may show now.
func (e *Enforcer) described(x *ebpf.Exec, profiles *session.Profiles) session.Process {
	p := e.describe(x.PID)
	p.Start = x.Start
	p.UID = x.UID
	p.User = e.users.name(x.UID)
	p.Called = x.Path
	if args := x.Args(); len(args) > 0 && !x.Flags.Has(ebpf.ArgvCut) {
		p.Args = args
	}
	if x.Flags.Has(ebpf.PathCut) {
		p.Called = fullPath(x.Path, p.Args)
	}
	p.Script = e.script(p, profiles)
	return p
}
