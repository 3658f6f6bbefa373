// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"strings"
	"time"
)

// Question is what a person is asked about. Its texts are shown as they are
// written here only after Exact or Prose.
type Question struct {
	Agent   string // codex, claude-code, ...
	Surface string // cli, exec, ide, desktop, mcp; may be empty
	Project string // directory in which the agent was started
	// Directory is where it happens, when that is another one.
	Directory string

	Action  Action
	Argv    []string // of a command whose words are known; takes precedence over Subject
	Program string   // the file that runs, when Argv does not name it
	RunsAs  string   // the user that it runs as, when that is not who is asked
	// Subject is a line of shell, a host with its port, a path, or the name of a
	// tool.
	Subject string

	Reason        string // why it is asked, one sentence
	Rule, Origin  string // the rule that asks, and the file and line of it
	Justification string // the administrator's reason
	Prompt        string // what the person had asked the agent for; empty: not known

	Left  time.Duration // until it is refused without an answer; 0: not said
	Until string        // the same as a time of day, for what does not count down
	Times int           // how many identical requests wait for this answer
}

// Action is what an agent wants to do.
type Action string

// Actions.
const (
	Run     Action = "run"     // a program
	Connect Action = "connect" // to a host
	Read    Action = "read"    // a path that it may not read
	Write   Action = "write"   // to a path outside its boundary
	Tool    Action = "tool"    // use a tool of the agent's
)

// Card is a question, ready to be shown. All its text is one line each, without
// control characters; nothing in it is escaped for markup.
type Card struct {
	Title   string // "codex wants to run"
	Subject string // the command, host or path
	// Whole says that nothing of the subject is left out. A person who has not seen
	// the whole may say no to it, but must not be offered to say yes.
	Whole bool
	Lines []Line // what else there is to know, the most important first
}

// Line is one more fact.
type Line struct{ Label, Text string }

// Limits of a card, in characters.
const (
	// Notification is for the subject in a notification: what common servers show
	// without shortening it themselves.
	Notification = 280
	// Terminal is for the subject where there is room.
	Terminal = 16 << 10

	otherLimit = 160 // of every other line in a notification
)

// Card writes the question with at most about limit characters of its subject.
func (q *Question) Card(limit int) Card {
	c := Card{Title: q.title()}
	units := exact(q.Subject)
	if len(q.Argv) > 0 {
		units = argv(q.Argv)
	}
	c.Subject, c.Whole = cut(units, limit)
	if c.Subject == "" {
		c.Subject, c.Whole = "(it is not known what)", false
	}
	other := max(otherLimit, limit/2)
	add := func(label string, units []string) {
		if text, _ := cut(units, other); text != "" {
			c.Lines = append(c.Lines, Line{label, text})
		}
	}
	if !c.Whole {
		add("All of it", exact("paddock approvals"))
	}
	add("As user", exact(q.RunsAs))
	add("Program", exact(q.Program))
	add("In", exact(q.Directory))
	add("Project", exact(q.Project))
	add("Why", q.why())
	add("You asked", prose(q.Prompt))
	if q.Times > 1 {
		add("Waiting", exact(fmt.Sprintf("%d identical requests", q.Times)))
	}
	if q.Left > 0 {
		add("Left", exact(left(q.Left)))
	}
	if q.Until != "" {
		add("Until", exact(q.Until+", then it is refused"))
	}
	return c
}

func (q *Question) title() string {
	agent := clip(Exact(q.Agent), 32)
	if agent == "" {
		agent = "An agent"
	}
	if q.Surface != "" && q.Surface != "cli" {
		agent += " (" + clip(Exact(q.Surface), 16) + ")"
	}
	switch q.Action {
	case Run:
		return agent + " wants to run"
	case Connect:
		return agent + " wants to connect to"
	case Read:
		return agent + " wants to read"
	case Write:
		return agent + " wants to write to"
	case Tool:
		return agent + " wants to use"
	}
	return agent + " asks for"
}

func clip(s string, limit int) string {
	text, _ := cut(strings.Split(s, ""), limit)
	return text
}

func (q *Question) why() []string {
	var out []string
	part := func(units []string) {
		if len(units) == 0 {
			return
		}
		if len(out) > 0 {
			out = append(out, ";", " ")
		}
		out = append(out, units...)
	}
	part(prose(q.Justification))
	if q.Rule != "" {
		rule := append(strings.Split("rule ", ""), exact(q.Rule)...)
		if q.Origin != "" {
			rule = append(rule, exact(" ("+q.Origin+")")...)
		}
		part(rule)
	}
	if len(out) == 0 {
		part(prose(q.Reason))
	}
	return out
}

// left says how long, without more digits than a person reads.
func left(d time.Duration) string {
	switch {
	case d < time.Second:
		return "less than a second, then it is refused"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d seconds, then it is refused", int(d.Seconds()))
	}
	return fmt.Sprintf("%d minutes, then it is refused", int(d.Minutes()))
}

// Text writes the card in lines, for a terminal or a dialog.
func (c *Card) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:\n\n  %s\n", c.Title, c.Subject)
	for i, l := range c.Lines {
		if i == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s: %s\n", l.Label, l.Text)
	}
	return b.String()
}
