// SPDX-License-Identifier: Apache-2.0

package approval

import "time"

// Kind is what an approval is about.
type Kind string

// Kinds of actions.
const (
	Command    Kind = "command"    // a program about to run: Argv
	Connection Kind = "connection" // a host about to be reached: Host, Port, Protocol
	File       Kind = "file"       // a path about to be used: Path, Access
	Tool       Kind = "tool"       // a tool call of the agent, before it begins: Tool, Input
)

// State is where an approval is.
type State string

// States. All but Pending are final.
const (
	Pending   State = "pending"
	Allowed   State = "allowed"
	Denied    State = "denied"
	Expired   State = "expired"   // nobody answered in time: denied
	Cancelled State = "cancelled" // nobody waits any more, or the requirements answer now
)

// Scope is what an answer holds for.
type Scope string

// Scopes, from the narrowest.
const (
	Once    Scope = "once"    // what waits now
	Session Scope = "session" // the same again in this agent session
	Always  Scope = "always"  // what the rule in Approval.Always says, until it is revoked
)

// Approval is one question to a person, with the answer once there is one. Text in
// it that comes from an agent (Argv, Host, Path, Input, Prompt, Project) is as the
// agent chose it: control characters and all.
type Approval struct {
	ID      string `json:"id"` // not to be guessed
	Kind    Kind   `json:"kind"`
	State   State  `json:"state"`
	Session string `json:"session"` // ID
	Agent   string `json:"agent"`
	Surface string `json:"surface,omitempty"`
	UID     uint32 `json:"uid"` // who is asked: the user of the session
	User    string `json:"user,omitempty"`
	Project string `json:"project,omitempty"` // directory the agent was started in

	Subject
	Why

	// HumanOnly: no reviewer program may answer.
	HumanOnly bool `json:"human_only,omitempty"`
	// EachTime: an answer is for once.
	EachTime bool `json:"each_time,omitempty"`
	// Risk is the high-risk class the action belongs to; empty: none. An answer that
	// allows it needs proof of who gives it.
	Risk string `json:"risk,omitempty"`
	// Scopes are what may be allowed, from the narrowest. A refusal is always Once.
	Scopes []Scope `json:"scopes"`
	// Always is the rule that an answer of scope Always saves, in words. When that is
	// not offered, NotAlways says why.
	Always    string `json:"always,omitempty"`
	NotAlways string `json:"not_always,omitempty"`

	Asked    time.Time `json:"asked"`
	Deadline time.Time `json:"deadline"` // denied when nobody answered until then
	Merged   int       `json:"merged"`   // how many actions wait for this answer, or waited
	Answer   *Answer   `json:"answer,omitempty"`
}

// Subject is exactly what is asked about.
type Subject struct {
	Argv     []string `json:"argv,omitempty"` // Command, with argv[0]
	Program  string   `json:"program,omitempty"`
	RunsAs   string   `json:"runs_as,omitempty"` // the user that Command runs as, where that is not who is asked
	Cwd      string   `json:"cwd,omitempty"`
	Host     string   `json:"host,omitempty"` // name or address
	Port     uint16   `json:"port,omitempty"`
	Protocol string   `json:"protocol,omitempty"` // tcp, udp, http, https, ...
	Path     string   `json:"path,omitempty"`
	Access   string   `json:"access,omitempty"` // read, write
	Tool     string   `json:"tool,omitempty"`   // the agent's name of it
	Input    string   `json:"input,omitempty"`  // what it is to do, as text; a command line for a shell tool
}

// Why is why somebody is asked, and what it came from.
type Why struct {
	Reason        string `json:"reason"`         // one sentence: the rule, where it is written, its justification
	Rule          string `json:"rule,omitempty"` // empty: no rule, but what holds without one
	Source        string `json:"source,omitempty"`
	Justification string `json:"justification,omitempty"`
	ToolCall      string `json:"tool_call,omitempty"` // the agent's id of the tool call
	Prompt        string `json:"prompt,omitempty"`    // what the user had asked of the agent, as the agent tells it; empty: not known
}

// Ways in which an answer came.
const (
	ByTerminal     = "terminal"     // paddock approve, deny
	ByCompanion    = "companion"    // a notification
	ByReview       = "review"       // automatic review
	ByMemory       = "memory"       // an answer of before, of scope Session or Always
	ByRequirements = "requirements" // they changed and answer themselves now
	ByDeadline     = "deadline"     // nobody answered
	ByLimit        = "limit"        // too many questions: nobody was asked
	ByProcess      = "process"      // what waited has ended
)

// Answer is what became of an approval.
type Answer struct {
	Allow  bool      `json:"allow"`
	Scope  Scope     `json:"scope,omitempty"`
	By     string    `json:"by"`             // one of the By constants
	UID    uint32    `json:"uid"`            // of who answered; of ByTerminal and ByCompanion
	User   string    `json:"user,omitempty"` //
	Root   bool      `json:"root,omitempty"` // root answered for the user
	Proof  string    `json:"proof,omitempty"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// Reply is what somebody answers.
type Reply struct {
	Allow  bool   `json:"allow"`
	Scope  Scope  `json:"scope,omitempty"`  // empty: Once
	Reason string `json:"reason,omitempty"` // for the agent, and the history
}

// Change is one step of a stream of approvals: first every pending one, then Synced,
// then each approval whenever something of it changes.
type Change struct {
	Approval *Approval `json:"approval,omitempty"`
	Synced   bool      `json:"synced,omitempty"` // what waited when the stream began is complete
}

// Grant is an answer that holds on: of scope Session until its session ends, of scope
// Always until it is revoked.
type Grant struct {
	ID      string    `json:"id"`
	Scope   Scope     `json:"scope"`
	UID     uint32    `json:"uid"`
	Session string    `json:"session,omitempty"` // of scope Session
	Agent   string    `json:"agent"`
	Project string    `json:"project,omitempty"`
	Kind    Kind      `json:"kind"`
	Rule    string    `json:"rule"` // in words
	Given   time.Time `json:"given"`
	By      string    `json:"by"`
	Used    int       `json:"used"`
	Subject Subject   `json:"subject"`
}

// Viewer is on whose behalf approvals are looked at.
type Viewer struct {
	UID uint32 // 0, root, sees everybody's
}

func (v Viewer) sees(uid uint32) bool { return v.UID == 0 || v.UID == uid }
