// SPDX-License-Identifier: Apache-2.0

package join

import (
	"slices"
	"strings"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Account is what the events of one session tell, put together.
type Account struct {
	Session Session  `json:"session"`
	Prompts []Prompt `json:"prompts"`
	Calls   []*Call  `json:"calls"` // in the order in which they began
	// Loose are processes no tool call is known for: the agent's own, mostly.
	Loose   []*Process   `json:"processes"`
	Network []Connection `json:"network"` // of those
	Files   []File       `json:"files"`   // of those
	Notes   []Note       `json:"notes"`

	// Which events of the session these are: see Show.
	First  int64 `json:"first_seq"`
	Last   int64 `json:"last_seq"`
	Events int   `json:"events"`
	More   bool  `json:"more"` // there are earlier ones
}

// Fold puts events of one session together. They are in the order of Seq; some
// may be missing.
func Fold(events []telemetry.Event) *Account {
	f := &folding{calls: map[string]*Call{}, processes: map[procKey]*Process{}, turns: map[string]string{}, out: &Account{Session: Session{UID: -1}}}
	for i := range events {
		f.event(view{&events[i]})
	}
	f.assign()
	for _, c := range f.out.Calls {
		if c.Turn == "" {
			c.Turn = f.turns[c.ID]
		}
		if c.fromKernel && !c.Told {
			c.Link.Because = "the processes carry this tool call's id; the agent's own telemetry does not speak of it"
		}
		f.out.prompt(c)
		c.order()
	}
	slices.SortStableFunc(f.out.Calls, func(a, b *Call) int { return a.Began.Compare(b.Began) })
	f.out.Loose = tree(f.out.Loose)
	return f.out
}

type folding struct {
	out       *Account
	calls     map[string]*Call
	processes map[procKey]*Process
	turns     map[string]string // by tool call: Codex tells of turns in its traces only
	tools     []telling         // what agents told of calls, for those whose processes do not name theirs
}

// telling is the time in which the agent says that a tool call ran.
type telling struct {
	call     *Call
	from, to time.Time
}

func (f *folding) call(v view, id string) *Call {
	c := f.calls[id]
	if c == nil {
		c = &Call{ID: id, Began: v.Time, firstSeq: v.Seq}
		f.calls[id] = c
		f.out.Calls = append(f.out.Calls, c)
	}
	if v.Time.Before(c.Began) {
		c.Began = v.Time
	}
	if c.Thread == "" {
		c.Thread = v.text(telemetry.AttrThreadID)
	}
	if c.Turn == "" {
		c.Turn = v.text(telemetry.AttrTurnID)
	}
	return c
}

func (f *folding) event(v view) {
	if f.out.Session.ID == "" {
		f.out.Session.ID = v.Session
	}
	if f.out.Session.Agent == "" {
		f.out.Session.Agent = v.text(telemetry.AttrAgent)
	}
	switch v.Name {
	case telemetry.NameSessionStart, telemetry.NameSessionEnd:
		f.session(v)
	case telemetry.NameProcessExec, telemetry.NameHoldKilled:
		f.exec(v)
	case telemetry.NameProcessExit:
		f.exit(v)
	case telemetry.NameNetworkDecision, telemetry.NameNetworkConnection:
		f.connection(v)
	case telemetry.NameLaunch:
		f.note(v, v.text(telemetry.AttrLaunchAction) != "record", launchText(v))
	case telemetry.NameFileChanged:
		f.note(v, true, "changed a protected file: "+v.text(telemetry.AttrFileOperation)+" "+v.text(telemetry.AttrFilePath))
	case telemetry.NameTamper:
		f.note(v, true, "reached for Paddock: "+v.text(telemetry.AttrDecisionReason))
	case telemetry.NameTelemetryRefused:
		f.note(v, true, "telemetry refused: "+v.text(telemetry.AttrRefusedCause)+" "+v.text(telemetry.AttrErrorMessage))
	case telemetry.NameTelemetryGap:
		f.note(v, true, "events are missing here: "+v.text(telemetry.AttrGapCause))
	default:
		switch {
		case strings.HasPrefix(v.Name, "paddock.agent."), strings.HasPrefix(v.Name, "paddock.hook."):
			f.said(v)
		case strings.HasPrefix(v.Name, "paddock.approval."):
			f.approval(v)
		case v.text(telemetry.AttrFilePath) != "":
			f.file(v)
		}
	}
}

// launchText says how an agent was started, and what came of it.
func launchText(v view) string {
	text := v.text(telemetry.AttrDecisionReason)
	if v.text(telemetry.AttrDecision) == "forbidden" {
		text += ": refused"
		if enforced, ok := v.Attrs[telemetry.AttrDecisionEnforced].(bool); ok && !enforced {
			text = strings.TrimSuffix(text, "refused") + "would be refused"
		}
	}
	return text
}

func (f *folding) note(v view, grave bool, text string) {
	f.out.Notes = append(f.out.Notes, Note{At: v.Time, Text: strings.TrimSpace(text), Grave: grave, Event: v.ID})
}

func (f *folding) session(v view) {
	s := &f.out.Session
	s.Agent, s.Version, s.Surface = v.text(telemetry.AttrAgent), v.text(telemetry.AttrAgentVersion), v.text(telemetry.AttrSurface)
	s.User, s.PID = v.text(telemetry.AttrProcessOwner), v.number(telemetry.AttrProcessPID)
	if uid, there := v.Attrs[telemetry.AttrProcessUserID].(int64); there {
		s.UID = uid
	}
	if v.Name == telemetry.NameSessionEnd {
		s.Ended = v.Time
		return
	}
	s.Started = v.Time
	s.Args, s.Cwd = v.list(telemetry.AttrProcessCommandArgs), v.text(telemetry.AttrProcessWorkingDir)
}

// said takes in what an agent, or its hook, tells.
func (f *folding) said(v view) {
	if sender := v.text(telemetry.AttrSenderToolCall); sender != "" {
		// Not the agent: a command it runs, or an agent inside it.
		f.call(v, sender)
		return
	}
	s := &f.out.Session
	if model := v.text(telemetry.AttrModel); model != "" && s.Model == "" {
		s.Model = model
	}
	if v.Name == telemetry.NameAgentSession {
		s.Approval, s.Sandbox = v.text(telemetry.AttrApprovalPolicy), v.text(telemetry.AttrSandboxPolicy)
		s.MCPServers = v.list(telemetry.AttrMCPServers)
	}
	if v.Name == telemetry.NameAgentPrompt || v.Name == telemetry.NameHookPrompt {
		f.prompt(v)
		return
	}
	id := v.text(telemetry.AttrToolCallID)
	if id == "" {
		if v.Name == telemetry.NameAgentNetwork {
			f.note(v, false, "the agent's own proxy: "+v.text(telemetry.AttrAgentDecision)+" "+v.text(telemetry.AttrServerAddress))
		}
		return
	}
	if v.Name == telemetry.NameAgentMetric || v.Name == telemetry.NameAgentSpan {
		if turn := v.text(telemetry.AttrTurnID); turn != "" {
			f.turns[id] = turn
		}
		return // but for that they say the same again, in numbers
	}
	c := f.call(v, id)
	c.Told = true
	for to, key := range map[*string]string{
		&c.Tool: telemetry.AttrToolName, &c.Arguments: telemetry.AttrToolArguments, &c.MCPServer: telemetry.AttrMCPServer,
	} {
		if text := v.text(key); text != "" && *to == "" {
			*to = text
		}
	}
	if c.Command == "" {
		c.Command = command(c.Arguments)
	}
	if d, told := f.agentDecision(v); told {
		c.Decisions = append(c.Decisions, d)
	}
	if v.Name == telemetry.NameAgentToolResult || v.Name == telemetry.NameHookResult && c.Result == nil {
		f.result(v, c)
	}
}

func (f *folding) prompt(v view) {
	p := Prompt{
		At: v.Time, Text: v.text(telemetry.AttrPrompt), Length: v.number(telemetry.AttrPromptLength),
		Thread: v.text(telemetry.AttrThreadID), Turn: v.text(telemetry.AttrTurnID), Event: v.ID, seq: v.Seq,
	}
	// A hook and the agent itself may both tell of one prompt.
	if n := len(f.out.Prompts); n > 0 {
		last := &f.out.Prompts[n-1]
		if last.Thread == p.Thread && last.Text == p.Text && p.At.Sub(last.At).Abs() < twice {
			if last.Turn == "" {
				last.Turn = p.Turn
			}
			return
		}
	}
	f.out.Prompts = append(f.out.Prompts, p)
}

// twice is within which time two tellings of one prompt come.
const twice = 5 * time.Second

func (f *folding) agentDecision(v view) (Decision, bool) {
	what := v.text(telemetry.AttrAgentDecision)
	d := Decision{At: v.Time, What: what, By: v.text(telemetry.AttrAgentDecidedBy), Held: true, Event: v.ID}
	switch {
	case strings.HasPrefix(v.Name, "paddock.hook."):
		own := v.decision()
		if own == nil {
			return d, false
		}
		own.By = ByHook
		return *own, true
	case what == "":
		return d, false
	case v.Name == telemetry.NameAgentReview:
		d.By, d.Reason = ByReviewer, v.text(telemetry.AttrReviewRationale)
		if risk := v.text(telemetry.AttrReviewRisk); risk != "" {
			d.Reason = strings.TrimSpace("risk " + risk + ". " + d.Reason)
		}
	case d.By == "":
		d.By = "agent"
	}
	return d, true
}

func (f *folding) result(v view, c *Call) {
	r := &Result{
		At: v.Time, DurationMS: v.number(telemetry.AttrDurationMS), Output: v.text(telemetry.AttrToolOutput),
		Error: v.text(telemetry.AttrErrorMessage), Event: v.ID,
	}
	if ok, there := v.truth(telemetry.AttrSuccess); there {
		r.Success = &ok
	}
	c.Result, c.Ended = r, v.Time
	from := v.Time.Add(-time.Duration(r.DurationMS) * time.Millisecond)
	if from.Before(c.Began) {
		c.Began = from
	}
	f.tools = append(f.tools, telling{c, from, v.Time})
}

// approval is a question Paddock asked a person, and its answer.
func (f *folding) approval(v view) {
	state, by, reason := v.text(telemetry.AttrApprovalState), ByPerson, v.text(telemetry.AttrApprovalReason)
	switch {
	case strings.HasSuffix(v.Name, ".requested"):
		state, by, reason = asked, ByPaddock, v.text(telemetry.AttrDecisionReason)
	case strings.HasSuffix(v.Name, ".refused"):
		f.note(v, true, "somebody answered who may not: "+v.text(telemetry.AttrDecisionReason))
		return
	case state == "":
		return
	}
	d := Decision{
		At: v.Time, By: by, What: state, Who: v.text(telemetry.AttrApprovalUser), Reason: reason,
		Rule: v.text(telemetry.AttrRule), Source: v.text(telemetry.AttrDecisionSource), Held: true, Event: v.ID,
		About: strings.Join(v.list(telemetry.AttrProcessCommandArgs), " "),
	}
	if by := v.text(telemetry.AttrApprovalBy); by == "review" {
		d.By = ByReviewer
	} else if by == "memory" {
		d.Who = strings.TrimSpace(d.Who + " (remembered)")
	}
	for _, key := range []string{telemetry.AttrDestinationAddress, telemetry.AttrFilePath} {
		if d.About == "" {
			d.About = v.text(key)
		}
	}
	if id := v.text(telemetry.AttrToolCallID); id != "" {
		c := f.call(v, id)
		c.Decisions = append(c.Decisions, d)
		return
	}
	f.note(v, false, "Paddock asked: "+d.About+": "+d.What+" "+d.Who)
}

// attrFileOperation is of the boundary.
const attrFileOperation = "paddock.file.operation"
