// SPDX-License-Identifier: Apache-2.0

package join

import "time"

// Confidence says how sure a Link is.
type Confidence string

// From sure to a guess.
const (
	Exact  Confidence = "exact"  // the same id, on both sides, in one session
	High   Confidence = "high"   // one conversation and the order in it, or the very same command
	Medium Confidence = "medium" // nothing else was under way at that time
	Low    Confidence = "low"    // one of several that were under way
)

// Link says why two things are told as belonging together.
type Link struct {
	Confidence Confidence `json:"confidence"`
	Because    string     `json:"because"` // one sentence for people
}

// Session is who acted.
type Session struct {
	ID         string    `json:"id"`
	Agent      string    `json:"agent,omitempty"`
	Version    string    `json:"version,omitempty"`
	Surface    string    `json:"surface,omitempty"`
	User       string    `json:"user,omitempty"`
	UID        int64     `json:"uid"` // -1: not known
	PID        int64     `json:"pid,omitempty"`
	Args       []string  `json:"args,omitempty"`
	Cwd        string    `json:"cwd,omitempty"`
	Started    time.Time `json:"started,omitzero"`
	Ended      time.Time `json:"ended,omitzero"` // zero: its end is not recorded
	Model      string    `json:"model,omitempty"`
	Approval   string    `json:"approval_policy,omitempty"` // the agent's own settings
	Sandbox    string    `json:"sandbox_policy,omitempty"`
	MCPServers []string  `json:"mcp_servers,omitempty"`
}

// Prompt is what the agent was asked for.
type Prompt struct {
	At     time.Time `json:"at"`
	Text   string    `json:"text,omitempty"` // empty, or "[REDACTED]": it was not recorded
	Length int64     `json:"length,omitempty"`
	Thread string    `json:"thread,omitempty"`
	Turn   string    `json:"turn,omitempty"`
	Event  string    `json:"event"` // its id
	Link   *Link     `json:"link,omitempty"`
	seq    int64
}

// Decision is one answer to the question whether something may happen.
type Decision struct {
	At     time.Time `json:"at"`
	By     string    `json:"by"`   // one of the By constants, or the agent's own word
	What   string    `json:"what"` // allow, deny, forbidden, prompt, timeout, ...
	Who    string    `json:"who,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Rule   string    `json:"rule,omitempty"`     // Paddock's rule
	Source string    `json:"source,omitempty"`   // where that stands: file and line
	Held   bool      `json:"enforced"`           // false: observe mode let it through
	Passed bool      `json:"approved,omitempty"` // of a prompt: it was approved, so it happened
	About  string    `json:"about,omitempty"`    // the command, host or file it is about
	Event  string    `json:"event"`
}

// Who decides.
const (
	ByPaddock  = "paddock"  // requirements, enforced by the kernel side
	ByPerson   = "person"   // asked by Paddock
	ByConfig   = "config"   // the agent's own settings
	ByUser     = "user"     // asked by the agent
	ByReviewer = "reviewer" // an automatic reviewer
	ByHook     = "hook"     // a hook in the agent
)

// Call is one tool call.
type Call struct {
	ID         string       `json:"id"`
	Tool       string       `json:"tool,omitempty"`
	MCPServer  string       `json:"mcp_server,omitempty"`
	Arguments  string       `json:"arguments,omitempty"` // JSON text, mostly
	Command    string       `json:"command,omitempty"`   // out of the arguments, where the tool runs one
	Thread     string       `json:"thread,omitempty"`
	Turn       string       `json:"turn,omitempty"`
	Began      time.Time    `json:"began"`
	Ended      time.Time    `json:"ended,omitzero"`
	Prompt     *Prompt      `json:"prompt,omitempty"`
	Decisions  []Decision   `json:"decisions,omitempty"`
	Processes  []*Process   `json:"processes,omitempty"` // parents before children
	Files      []File       `json:"files,omitempty"`
	Network    []Connection `json:"network,omitempty"`
	Result     *Result      `json:"result,omitempty"`
	Link       *Link        `json:"link,omitempty"` // of its processes to it
	Told       bool         `json:"told"`           // the agent, or its hook, spoke of it; else only the kernel knows its id
	firstSeq   int64
	fromKernel bool
}

// Result is what came of a tool call, in the agent's words.
type Result struct {
	At         time.Time `json:"at"`
	Success    *bool     `json:"success,omitempty"`
	DurationMS int64     `json:"duration_ms,omitempty"`
	Output     string    `json:"output,omitempty"`
	Error      string    `json:"error,omitempty"`
	Event      string    `json:"event"`
}

// Process is one process, as the kernel saw it.
type Process struct {
	PID      int64     `json:"pid"`
	Start    int64     `json:"start"` // ns since boot
	Parent   int64     `json:"parent_pid,omitempty"`
	Depth    int       `json:"depth"` // below the first one told
	At       time.Time `json:"at"`
	Args     []string  `json:"args,omitempty"`
	Path     string    `json:"path,omitempty"`
	Cwd      string    `json:"cwd,omitempty"`
	User     string    `json:"user,omitempty"`
	Call     string    `json:"tool_call,omitempty"`
	Decision *Decision `json:"decision,omitempty"`
	Exit     *Exit     `json:"exit,omitempty"`
	Event    string    `json:"event"` // of its last exec
	seq      int64
	name     string
	words    []string // of all that it executed, one after the other
}

// Exit is the end of a process.
type Exit struct {
	At     time.Time `json:"at"`
	Code   int64     `json:"code"`
	Signal int64     `json:"signal,omitempty"`
}

// Connection is where a process went, or wanted to.
type Connection struct {
	At        time.Time `json:"at"`
	PID       int64     `json:"pid,omitempty"`
	Program   string    `json:"program,omitempty"`
	Host      string    `json:"host,omitempty"` // name, where it is known
	Address   string    `json:"address,omitempty"`
	Port      int64     `json:"port,omitempty"`
	Transport string    `json:"transport,omitempty"`
	Sent      int64     `json:"sent,omitempty"`     // bytes, where the connection went through the managed network
	Received  int64     `json:"received,omitempty"` // bytes
	Error     string    `json:"error,omitempty"`    // why it broke
	Decision  Decision  `json:"decision"`
	Event     string    `json:"event"`
}

// File is a file that a process reached for.
type File struct {
	At        time.Time `json:"at"`
	PID       int64     `json:"pid,omitempty"`
	Path      string    `json:"path"`
	Operation string    `json:"operation,omitempty"`
	Decision  Decision  `json:"decision"`
	Event     string    `json:"event"`
}

// Note is anything else worth telling, in the order of time.
type Note struct {
	At    time.Time `json:"at"`
	Text  string    `json:"text"`
	Grave bool      `json:"grave,omitempty"` // somebody should look
	Event string    `json:"event"`
}
