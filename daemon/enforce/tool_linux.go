// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	text "github.com/seed-649e9bbc/paddock/daemon/policy/shell"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// An agent's hook asks before the tool call begins, so that the agent can show a
// refusal instead of a killed process. What really runs is judged at exec all the
// same; what was approved here is not asked about a second time there.

// ToolCall is a call an agent is about to make.
type ToolCall struct {
	Tool     string   // the agent's name of the tool
	Command  string   // shell text that it runs
	Argv     []string // or a command without a shell
	Input    string   // what else it is given
	Cwd      string
	ToolCall string // the agent's id of the call
	Prompt   string // as the agent tells it
	Ask      bool   // the agent wants a person asked
}

// ToolAnswer is the answer to a ToolCall.
type ToolAnswer struct {
	Decision string // allow, deny, none
	Reason   string
	Approval string // ID of the question; empty: nobody was asked
}

const (
	toolAllow = "allow"
	toolDeny  = "deny"
	toolNone  = "none"
)

// JudgeTool answers for the session a process belongs to, and waits for a person
// where one has to be asked.
func (e *Enforcer) JudgeTool(ctx context.Context, pid int, call ToolCall) (ToolAnswer, error) {
	p, err := e.Kernel.Lookup(pid)
	if err != nil {
		return ToolAnswer{}, &approval.RefusedError{Why: "the process belongs to no session"}
	}
	m, known := e.marks.await(p.Session)
	if !known {
		return ToolAnswer{}, &approval.RefusedError{Why: "the process belongs to no session"}
	}
	g := e.now.Load()
	found := judgeCommands(g.rules, call)
	switch {
	case g.mode == policy.Observe:
		return ToolAnswer{Decision: toolNone, Reason: "mode observe: " + found.worst.Reason}, nil
	case found.worst.Decision == policy.Forbidden:
		return ToolAnswer{Decision: toolDeny, Reason: found.worst.Reason}, nil
	case found.worst.Decision == policy.Prompt, call.Ask && !found.allowed:
	case found.allowed:
		return ToolAnswer{Decision: toolAllow, Reason: found.worst.Reason}, nil
	default:
		return ToolAnswer{Decision: toolNone, Reason: found.worst.Reason}, nil
	}
	if call.Ask {
		// Of what rules want approved, a person was asked before the call: the agent's own
		// question about the same call needs no second answer.
		if out, ok := e.vouchers.useCall(m.id, call); ok {
			return ToolAnswer{Decision: toolAllow, Reason: "approved by " + out.Decider(), Approval: out.Approval.ID}, nil
		}
	}
	if e.Approvals == nil {
		return ToolAnswer{Decision: toolDeny, Reason: "nobody to ask: " + found.worst.Reason}, nil
	}
	out := e.Approvals.Wait(ctx, e.toolQuestion(m, call, found))
	answer := ToolAnswer{Decision: toolDeny, Approval: out.Approval.ID, Reason: refusal(&out) + ": " + found.worst.Reason}
	if out.Allow {
		e.vouchers.add(m.id, call.ToolCall, found, out)
		if !call.Ask {
			e.vouchers.addCall(m.id, call, out)
		}
		answer.Decision, answer.Reason = toolAllow, "approved by "+out.Decider()
	}
	return answer, nil
}

// judged is what the rules say of the commands of a tool call.
type judged struct {
	worst   policy.Verdict
	allowed bool       // every command is known, and a rule allows it
	all     [][]string // as far as they are known
	asked   [][]string // of those, what rules want approved and is known whole
	places  []string   // the directories in which they run, as far as the call's words say
}

func judgeCommands(rules *policy.Rules, call ToolCall) judged {
	out := judged{worst: policy.Verdict{Decision: policy.Allow, Reason: "the requirements have nothing against it"}}
	var commands []text.Command
	switch {
	case len(call.Argv) > 0:
		commands = []text.Command{{Kind: text.Program, Words: call.Argv}}
	case call.Command != "":
		var err error
		if commands, err = text.Commands(call.Command); err != nil {
			out.worst.Reason = "it cannot be read as shell, and is judged as it runs"
			return out
		}
	}
	out.places = placesOf(call.Cwd, commands)
	out.allowed = slices.ContainsFunc(commands, func(c text.Command) bool { return c.Kind == text.Program })
	for _, c := range commands {
		if c.Kind == text.Builtin || c.Kind == text.Function {
			continue
		}
		if c.Kind == text.Hidden || len(c.Words) == 0 {
			out.allowed = false
			continue
		}
		out.all = append(out.all, c.Words)
		v := rules.Decide(policy.Command{Names: []string{c.Words[0]}, Args: c.Words[1:]})
		if c.Unknown != "" && !v.Matched {
			out.allowed = false
			continue // what it is is not known yet
		}
		out.allowed = out.allowed && v.Matched && v.Decision == policy.Allow && c.Unknown == ""
		if v.Decision == policy.Prompt && c.Unknown == "" {
			out.asked = append(out.asked, c.Words)
		}
		if v.Decision > out.worst.Decision || v.Decision == out.worst.Decision && v.Rule.HumanOnly && !out.worst.Rule.HumanOnly {
			out.worst = v
		}
	}
	return out
}

// placesOf lists the directories that people see of a call: where it begins, and where it says that it goes.
func placesOf(cwd string, commands []text.Command) []string {
	if !filepath.IsAbs(cwd) {
		return nil
	}
	at := filepath.Clean(cwd)
	out := []string{at}
	for _, c := range commands {
		if c.Kind != text.Builtin || c.Unknown != "" || len(c.Words) != 2 || c.Words[0] != "cd" || strings.HasPrefix(c.Words[1], "-") {
			continue
		}
		if to := c.Words[1]; filepath.IsAbs(to) {
			at = filepath.Clean(to)
		} else {
			at = filepath.Join(at, to)
		}
		out = append(out, at)
	}
	return out
}

func (e *Enforcer) toolQuestion(m *mark, call ToolCall, found judged) approval.Question {
	input := call.Input
	if call.Command != "" {
		input = call.Command
	}
	q := approval.Question{
		Kind: approval.Tool, Session: m.id, Agent: m.agent,
		Subject: approval.Subject{Tool: call.Tool, Input: input, Argv: call.Argv, Cwd: call.Cwd},
		Why:     approval.Why{Reason: found.worst.Reason, ToolCall: call.ToolCall, Prompt: call.Prompt},
		Within:  found.all, HumanOnly: found.worst.Rule.HumanOnly,
	}
	if v := found.worst; v.Matched && v.Decision == policy.Prompt {
		q.Rule, q.Source, q.Justification = v.Rule.String(), v.Rule.Origin(), v.Rule.Justification
	} else if v.Decision == policy.Allow {
		q.Reason = m.agent + " asks for permission"
	}
	e.asker(&q, m)
	return q
}

// voucher is a command, or a whole call, that was approved as part of a tool call, and did not run yet.
type voucher struct {
	session, toolCall string
	words             []string
	places            []string // the directories in which they may run
	call              string   // callKey of a whole call; then words is empty
	until             time.Time
	outcome           approval.Outcome
}

// vouchers are each good for one run, or for one more question about a call.
type vouchers struct {
	mu  sync.Mutex
	all []voucher
}

const (
	// voucherTime is how long after the approval a command may begin.
	voucherTime = 5 * time.Minute
	maxVouchers = 1024
)

func (v *vouchers) add(session, toolCall string, found judged, out approval.Outcome) {
	now := time.Now()
	for _, words := range found.asked {
		v.put(now, voucher{session: session, toolCall: toolCall, words: words, places: found.places, until: now.Add(voucherTime), outcome: out})
	}
}

// addCall remembers that a call was approved.
func (v *vouchers) addCall(session string, call ToolCall, out approval.Outcome) {
	now := time.Now()
	v.put(now, voucher{session: session, toolCall: call.ToolCall, call: callKey(call), until: now.Add(voucherTime), outcome: out})
}

// callKey is the same for two calls of which a person would be shown the same.
func callKey(call ToolCall) string {
	return fmt.Sprintf("%q", append([]string{call.Tool, call.Cwd, call.Command, call.Input}, call.Argv...))
}

func (v *vouchers) put(now time.Time, one voucher) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all = slices.DeleteFunc(v.all, func(one voucher) bool { return now.After(one.until) })
	v.all = append(v.all, one)
	if n := len(v.all) - maxVouchers; n > 0 {
		v.all = slices.Delete(v.all, 0, n)
	}
}

// useCall takes the voucher for a call. Claude Code and Codex do not name the call when they ask for permission.
func (v *vouchers) useCall(session string, call ToolCall) (approval.Outcome, bool) {
	key := callKey(call)
	return v.take(session, call.ToolCall, func(one *voucher) bool { return one.call == key })
}

func (v *vouchers) take(session, toolCall string, is func(*voucher) bool) (approval.Outcome, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	i := slices.IndexFunc(v.all, func(one voucher) bool {
		return one.session == session && now.Before(one.until) && (one.toolCall == "" || toolCall == "" || one.toolCall == toolCall) && is(&one)
	})
	if i < 0 {
		return approval.Outcome{}, false
	}
	out := v.all[i].outcome
	v.all = slices.Delete(v.all, i, i+1)
	return out, true
}

// approvedBefore finds the voucher of a held exec: these words, of the program people mean by the first of them, where the
// call said that they run, as the user that everybody thinks of, and by an answer that is good enough for what it turns out
// to be.
func (e *Enforcer) approvedBefore(x *ebpf.Exec, q *approval.Question) (approval.Outcome, bool) {
	if x.Flags.Has(ebpf.Script) || len(q.Argv) == 0 || q.RunsAs != "" || !e.means(q.Argv[0], q.Program) {
		return approval.Outcome{}, false
	}
	return e.vouchers.take(q.Session, q.ToolCall, func(one *voucher) bool {
		return one.call == "" && slices.Equal(q.Argv, one.words) && slices.Contains(one.places, q.Cwd) && e.Approvals.Covers(&one.outcome, q)
	})
}

// means says whether a program is what people mean by a word: a process may call any by any, and an agent may have its own
// of that name, where it is looked for as well.
func (e *Enforcer) means(word, program string) bool {
	directories := e.directories()
	is, err := os.Stat(program)
	if err != nil || !slices.Contains(directories, filepath.Dir(program)) || !nobodyElses(program) || !nobodyElses(filepath.Dir(program)) {
		return false
	}
	if strings.Contains(word, "/") {
		if directories = []string{filepath.Dir(word)}; !slices.Contains(e.directories(), directories[0]) {
			return false
		}
	}
	return slices.ContainsFunc(directories, func(dir string) bool {
		meant, err := os.Stat(filepath.Join(dir, filepath.Base(word)))
		return err == nil && os.SameFile(is, meant)
	})
}

// nobodyElses says whether nobody but root can change a file or directory.
func nobodyElses(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && st.Uid == 0 && st.Mode&0o022 == 0
}
