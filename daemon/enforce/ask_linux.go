// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// What a rule wants a person to decide stays held, for as long as that takes. Nobody
// waits for it here: the queue of approvals calls back.

// waiting is a hold of which a person is asked.
type waiting struct {
	exec    *ebpf.Exec
	mark    *mark
	under   *generation
	verdict policy.Verdict
	ticket  *approval.Ticket // nil until it is asked; guarded by asks
	first   bool             // of those that wait for the same answer; guarded by asks
}

// asks are the holds of which people are asked, by process: each has one hold at most.
type asks struct {
	mu     sync.Mutex
	byPID  map[int]*waiting
	closed bool
	file   *holdsFile
}

func (a *asks) init(path string) {
	a.byPID = map[int]*waiting{}
	a.file = newHoldsFile(path, a.execs)
}

func (a *asks) add(w *waiting) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	a.byPID[w.exec.PID] = w
	a.file.soon()
	return true
}

// take removes a hold, and reports whether it was still there: whoever takes it,
// answers it. The ticket is nil while it is being asked about.
func (a *asks) take(w *waiting) (ticket *approval.Ticket, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.byPID[w.exec.PID] != w {
		return nil, false
	}
	delete(a.byPID, w.exec.PID)
	a.file.soon()
	return w.ticket, true
}

// asked notes that a hold is asked about, and reports whether it is still there.
func (a *asks) asked(w *waiting, ticket *approval.Ticket, first bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.ticket, w.first = ticket, first
	return a.byPID[w.exec.PID] == w
}

func (a *asks) isFirst(w *waiting) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return w.first
}

func (a *asks) all() []*waiting {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]*waiting, 0, len(a.byPID))
	for _, w := range a.byPID {
		out = append(out, w)
	}
	return out
}

func (a *asks) execs() []*ebpf.Exec {
	all := a.all()
	out := make([]*ebpf.Exec, len(all))
	for i, w := range all {
		out[i] = w.exec
	}
	return out
}

// close ends asking, and returns what waits.
func (a *asks) close() []*ebpf.Exec {
	out := a.execs()
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	return out
}

// askAgain judges anew what an earlier daemon left waiting for people.
func (e *Enforcer) askAgain(execs []*ebpf.Exec) {
	e.work.Go("asking again", func() {
		for _, x := range execs {
			e.Events.Owe(1)
			e.judge(x)
		}
		if e.Approvals != nil {
			e.Approvals.Settle()
		}
	})
}

// Asked names the holds of which people are asked.
func (e *Enforcer) Asked() ebpf.HoldSet {
	out := ebpf.HoldSet{}
	for _, x := range e.asks.execs() {
		out.Add(x)
	}
	return out
}

// ask asks a person about a held exec. The answer may come before it returns.
func (e *Enforcer) ask(h *ebpf.Held, x *ebpf.Exec, m *mark, g *generation, v policy.Verdict) {
	w := &waiting{exec: x, mark: m, under: g, verdict: v}
	if !e.asks.add(w) {
		return // the daemon stops: the kernel kills what is left
	}
	q := e.question(g, x, m, v)
	if before, ok := e.approvedBefore(x, &q); ok {
		e.decided(w, before)
		return
	}
	out, ticket := e.Approvals.Ask(q, func(o approval.Outcome) { e.decided(w, o) })
	if ticket == nil {
		e.decided(w, out)
		return
	}
	first := out.Approval.Merged == 1
	if !e.asks.asked(w, ticket, first) { // answered, or gone, meanwhile
		ticket.Withdraw(approval.ByProcess, "the process has ended")
		return
	}
	if first {
		e.tellWaiting(h, x, m, &out.Approval)
	}
	if !e.Kernel.IsHeld(x) { // it ended, and its end may have been seen before
		e.gone(w)
	}
}

// question puts a held exec into words.
func (e *Enforcer) question(g *generation, x *ebpf.Exec, m *mark, v policy.Verdict) approval.Question {
	args := x.Args()
	if x.Flags&(ebpf.ArgvCut|ebpf.ArgvUnread) != 0 {
		if full, err := readCmdline(x.PID); err == nil && len(full) > 0 {
			args = full
		}
	}
	q := approval.Question{
		Kind: approval.Command, Session: m.id, Agent: m.agent, UID: x.UID,
		Subject: approval.Subject{Argv: args, Program: e.programOf(x), Cwd: e.cwdOf(x)},
		Why:     approval.Why{Reason: v.Reason},
		Names:   []string{x.Name, x.Path, readLink(x.PID, "exe")}, HumanOnly: v.Rule.HumanOnly,
		Identity: fmt.Sprintf("%d:%d:%d:%d.%d in %d:%d", x.Exe.Dev, x.Exe.Ino, x.Exe.Size, x.Exe.CtimeSec, x.Exe.CtimeNsec, x.Cwd.Dev, x.Cwd.Ino),
	}
	if len(v.Prefix) > 0 {
		q.Names = append(q.Names, v.Prefix[0]) // what it is by its content
	}
	if x.Flags.Has(ebpf.Script) {
		q.Names = append(q.Names, "sh") // whatever the interpreter: the script says what it does
		q.Program = ""
	}
	if v.Matched {
		q.Rule, q.Source, q.Justification = v.Rule.String(), v.Rule.Origin(), v.Rule.Justification
	}
	if x.Cause != 0 {
		if why, ok := e.why(&x.Head); ok {
			q.ToolCall = why.ToolCallID
		}
	}
	q.Within = e.risky(g, x, args)
	e.asker(&q, m)
	q.RunsAs = e.runsAs(x, q.UID)
	return q
}

// runsAs names the user that a held program runs as, if that is not who is asked: a session may have processes of root's.
// Whom a file says that it runs as (setuid) goes without saying, for it is known which file it is.
func (e *Enforcer) runsAs(x *ebpf.Exec, asked uint32) string {
	as := x.UID
	if as == asked {
		if _, as = usersOf(x.PID); as == asked || runsAsItsOwner(x.PID, as) {
			return ""
		}
	}
	if name := e.users.name(as); name != "" {
		return name
	}
	return fmt.Sprint(as)
}

func runsAsItsOwner(pid int, uid uint32) bool {
	var st unix.Stat_t
	err := unix.Stat(fmt.Sprintf("/proc/%d/exe", pid), &st)
	return err == nil && st.Mode&unix.S_ISUID != 0 && st.Uid == uid
}

// risky lists those of the commands an exec stands for that may be a high risk: a loader
// has the risk of what it loads, and git called git-credential that of git credential.
func (e *Enforcer) risky(g *generation, x *ebpf.Exec, args []string) (out [][]string) {
	names, err := g.catalog.names(x.Exe, func() (digest, error) { return e.hashOf(x) })
	if err != nil {
		return nil // then it is forbidden
	}
	names = addName(addName(names, x.Name), readLink(x.PID, "exe"))
	for _, s := range subjects(x, args, names, &processView{e: e, g: g, pid: x.PID}, g) {
		for _, class := range policy.RiskClasses() {
			for _, name := range s.Names {
				if policy.HighRisk(class, policy.Command{Names: []string{name}, Args: s.Args}) {
					out = append(out, append([]string{name}, s.Args...))
				}
			}
		}
	}
	return out
}

// asker notes whose question it is: who is asked is whose session it is, whoever a
// command runs as.
func (e *Enforcer) asker(q *approval.Question, m *mark) {
	if q.Prompt == "" {
		q.Prompt, _ = e.prompts.get(m.id)
	}
	if s, ok := e.Sessions.ByID(m.id); ok {
		q.UID, q.User, q.Project, q.Surface = s.UID, s.User, s.Root.Cwd, s.Surface
	}
	if q.User == "" {
		q.User = e.users.name(q.UID)
	}
	if q.Prompt == "" && e.Prompt != nil {
		q.Prompt = e.Prompt(m.id)
	}
}

// maxPrompt bounds what of a prompt a question carries, in bytes.
const maxPrompt = 4096

// NotePrompt notes what the user of a session has asked of the agent last, as the
// agent tells it: for people, and for nothing that decides.
func (e *Enforcer) NotePrompt(session, prompt string) {
	if len(prompt) > maxPrompt {
		prompt = prompt[:maxPrompt] + "..."
	}
	e.prompts.put(session, strings.ToValidUTF8(prompt, "?"))
}

// programOf is the path of a program, if it is that of the very file the kernel runs
// as the daemon sees it: a session may have mounts of its own.
func (e *Enforcer) programOf(x *ebpf.Exec) string {
	path := readLink(x.PID, "exe")
	if !filepath.IsAbs(path) || x.Flags&(ebpf.Foreign|ebpf.Unlinked) != 0 {
		return ""
	}
	runs, err1 := os.Stat(procPath(x.PID, "exe"))
	named, err2 := os.Lstat(path)
	if err1 != nil || err2 != nil || !os.SameFile(runs, named) {
		return ""
	}
	return path
}

// onlyThere is said of a directory that is not what the daemon finds at its path.
const onlyThere = " (as its own mounts have it)"

// cwdOf is the path of the directory a process is in. What its own mounts put at a path is not what people know by it.
func (e *Enforcer) cwdOf(x *ebpf.Exec) string {
	path := readLink(x.PID, "cwd")
	if !filepath.IsAbs(path) {
		return path
	}
	same, err := look(&e.lookups, path, func() (bool, error) {
		is, err1 := os.Stat(procPath(x.PID, "cwd"))
		named, err2 := os.Lstat(path)
		return err1 == nil && err2 == nil && os.SameFile(is, named), nil
	})
	if err != nil || !same {
		return path + onlyThere
	}
	return path
}

// decided carries an answer out.
func (e *Enforcer) decided(w *waiting, out approval.Outcome) {
	if _, ok := e.asks.take(w); !ok {
		return // its process ended, or the daemon does
	}
	if out.Approval.State == approval.Cancelled && out.Approval.Answer.By == approval.ByProcess {
		e.finish(w, out, false) // nobody is there to be told; a process that is held all the same dies
		return
	}
	allow := out.Allow
	if g := e.now.Load(); allow && g != w.under {
		// What the requirements forbid by now, no answer of before allows.
		if v, _ := e.evaluate(g, w.exec); v.Decision == policy.Forbidden && g.mode == policy.Enforce {
			w.under, w.verdict, allow = g, v, false
		}
	}
	e.finish(w, out, allow)
}

// finish records what became of a question, and releases or kills what was asked about: after its end nothing waits for the record.
func (e *Enforcer) finish(w *waiting, out approval.Outcome, allow bool) {
	h, err := e.Kernel.Hold(w.exec)
	if err != nil {
		return // its exit tells
	}
	defer h.Close()
	e.Events.Owe(1)
	e.stats.events.Add(1)
	e.recordOwed(e.approvedEvent(w, &out, allow))
	if allow {
		e.settle(h.Release(), h, w.exec)
	} else {
		v := w.verdict
		if v.Decision == policy.Prompt {
			v.Reason = refusal(&out) + ": " + v.Reason
		}
		e.tell(h, w.exec, v)
		if e.asks.isFirst(w) || out.First { // before the kill: the agent may end with it, and its terminal be gone
			e.tellTerminal(h, w.exec, w.mark, blocked(w.exec, v))
		}
		if err := h.Kill(); err != nil {
			e.Log.Error("killing what was not approved", "pid", w.exec.PID, "error", err)
		}
	}
}

// refusal says in a few words why something was not approved.
func refusal(out *approval.Outcome) string {
	a := out.Approval.Answer
	if a == nil {
		return "not approved"
	}
	who := "not approved"
	switch a.By {
	case approval.ByTerminal, approval.ByCompanion:
		who = "refused by " + a.User
		if a.Reason == "" {
			return who
		}
	case approval.ByLimit:
		who = "nobody was asked"
	}
	return who + " (" + a.Reason + ")"
}

// gone takes back a question whose process has ended.
func (e *Enforcer) gone(w *waiting) {
	if ticket, ok := e.asks.take(w); ok && ticket != nil {
		ticket.Withdraw(approval.ByProcess, "the process has ended")
	}
}

// exited takes back what an ended process asked.
func (e *Enforcer) exited(pid int) {
	e.asks.mu.Lock()
	w := e.asks.byPID[pid]
	e.asks.mu.Unlock()
	if w != nil && !e.Kernel.IsHeld(w.exec) {
		e.gone(w)
	}
}

// sweepAsks takes back what processes asked whose end was not seen.
func (e *Enforcer) sweepAsks() {
	for _, w := range e.asks.all() {
		if !e.Kernel.IsHeld(w.exec) {
			e.gone(w)
		}
	}
}

// reconsider judges what waits for people anew, under requirements that have
// changed: what they allow or forbid by now is no question any more.
func (e *Enforcer) reconsider(g *generation) {
	for _, w := range e.asks.all() {
		if g != e.now.Load() {
			return // the next change sees to it
		}
		v, _ := e.evaluate(g, w.exec)
		if v.Decision == policy.Prompt && g.mode == policy.Enforce && v.Rule.String() == w.verdict.Rule.String() && v.Rule.HumanOnly == w.verdict.Rule.HumanOnly {
			continue
		}
		ticket, ok := e.asks.take(w)
		if !ok {
			continue
		}
		if ticket != nil {
			// An answer that came meanwhile was to another question, and finds nothing.
			ticket.Withdraw(approval.ByRequirements, "the requirements have changed: "+v.Reason)
		}
		e.Events.Owe(1)
		e.judge(w.exec)
	}
}
