// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

// storyClock is how a story tells the time of day; the day is in its first line.
const storyClock = "15:04:05.000"

// maxOutput is how much of a tool's output, or of a prompt, is printed, in bytes.
const maxOutput = 1200

// pages writes lines with a label before the first one of each part. Everything
// is made plain here: nearly all of it was chosen by an agent.
type pages struct {
	bytes.Buffer
	a     *app
	label string
}

const labelWidth = 11

func (p *pages) part(label string) { p.label = label }

func (p *pages) line(format string, args ...any) {
	for i := range args {
		if s, ok := args[i].(string); ok {
			args[i] = plain(s)
		}
	}
	text := strings.TrimRight(fmt.Sprintf(format, args...), " ")
	fmt.Fprintf(p, "%-*s%s\n", labelWidth, p.label, text)
	p.label = ""
}

// block writes a text of several lines, as much of it as is printed.
func (p *pages) block(text string) {
	rest := ""
	if len(text) > maxOutput {
		text, rest = strings.ToValidUTF8(text[:maxOutput], ""), "…"
	}
	for line := range strings.Lines(strings.TrimSpace(text) + rest) {
		p.line("  | %s", strings.TrimRight(line, "\n"))
	}
}

func (p *pages) clock(t time.Time) string { return t.In(p.a.zone).Format(storyClock) }

// printStory tells a story to a person.
func (a *app) printStory(w io.Writer, s *join.Story) error {
	p := &pages{a: a}
	p.subject(s)
	p.session(&s.Session)
	p.prompt(s.Prompt)
	if s.Call != nil {
		p.call(s)
	} else {
		p.stopped(s.Processes)
		p.processes(s.Processes, s.Process)
		p.network(s.Network)
		p.files(s.Files)
	}
	p.part("Notes")
	for _, n := range s.Notes {
		p.line("%s  %s", p.clock(n.At), n.Text)
	}
	p.part("Not known")
	for _, d := range s.Doubts {
		p.line("%s", d)
	}
	p.part("Also")
	for _, o := range s.Others {
		p.line("%s  session %s  %s", o.At.In(a.zone).Format(eventTime), o.Session[max(0, len(o.Session)-sessionShort):], o.What)
	}
	_, err := w.Write(p.Bytes())
	return err
}

func (p *pages) subject(s *join.Story) {
	p.part("Asked for")
	p.line("%s %s", string(s.Subject.Kind), s.Subject.Value)
	if q := s.Process; q != nil {
		p.part("Process")
		p.line("%s", commandLine(q.Args, maxCommand))
		p.line("number %d, %s%s%s", q.PID, q.At.In(p.a.zone).Format(eventTime), in(q.Cwd), ending(q))
		if len(s.Lineage) > 1 {
			var names []string
			for _, l := range s.Lineage {
				name := fmt.Sprint(l.PID)
				if len(l.Args) > 0 {
					name = word(l.Args[0])
				}
				names = append(names, name)
			}
			p.line("started by %s", strings.Join(names[:len(names)-1], " > "))
		}
	}
}

func in(cwd string) string {
	if cwd == "" {
		return ""
	}
	return ", in " + cwd
}

func ending(q *join.Process) string {
	switch {
	case q.Decision.Stopped():
		return ", did not run"
	case q.Exit == nil:
		return ", no end is recorded"
	case q.Exit.Signal != 0:
		return fmt.Sprintf(", ended by signal %d", q.Exit.Signal)
	}
	return fmt.Sprintf(", ended with %d", q.Exit.Code)
}

func (p *pages) session(s *join.Session) {
	p.part("Session")
	if s.ID == "" {
		p.line("none")
		return
	}
	text := s.ID + "  " + strings.TrimSpace(s.Agent+" "+s.Version)
	if s.Surface != "" {
		text += " (" + s.Surface + ")"
	}
	if s.User != "" {
		text += " of " + s.User
	}
	if !s.Started.IsZero() {
		text += ", since " + s.Started.In(p.a.zone).Format(timeFormat)
	}
	p.line("%s", text)
	for _, setting := range []struct{ name, value string }{
		{"model", s.Model},
		{"the agent's approval policy", s.Approval},
		{"its sandbox", s.Sandbox},
		{"MCP servers", strings.Join(s.MCPServers, ", ")},
	} {
		if setting.value != "" {
			p.line("%s: %s", setting.name, setting.value)
		}
	}
}

func (p *pages) prompt(q *join.Prompt) {
	if q == nil {
		return
	}
	p.part("Prompt")
	p.line("%s  %s", p.clock(q.At), link(q.Link))
	text := q.Text
	if text == "" {
		text = fmt.Sprintf("(%d characters, not recorded)", q.Length)
	}
	p.block(text)
}

func link(l *join.Link) string {
	if l == nil {
		return ""
	}
	return fmt.Sprintf("[%s] %s", l.Confidence, l.Because)
}

func (p *pages) call(s *join.Story) {
	c := s.Call
	p.part("Tool call")
	tool := c.Tool
	if c.MCPServer != "" {
		tool += " of the MCP server " + c.MCPServer
	}
	p.line("%s  %s  %s", p.clock(c.Began), c.ID, tool)
	switch {
	case c.Command != "":
		p.block(c.Command)
	case c.Arguments != "":
		p.block(c.Arguments)
	}
	if c.Link != nil {
		p.line("%s", link(c.Link))
	}
	if c.Turn != "" {
		p.line("turn %s", c.Turn)
	}
	p.part("Decided")
	for i := range c.Decisions {
		p.line("%s  %s", p.clock(c.Decisions[i].At), decided(&c.Decisions[i]))
	}
	p.processes(c.Processes, s.Process)
	p.network(c.Network)
	p.files(c.Files)
	p.result(c)
}

// decided is a decision as a sentence.
func decided(d *join.Decision) string {
	what := d.What
	if d.By == join.ByPaddock && !d.Held && what != allowed {
		what = "(" + what + ")"
	}
	text := what + " by " + d.By
	if d.Who != "" {
		text += " " + d.Who
	}
	if d.About != "" {
		text += ": " + d.About
	}
	if d.Reason != "" {
		text += " - " + d.Reason
	}
	if d.Rule != "" {
		text += " [rule " + d.Rule
		if d.Source != "" {
			text += ", " + d.Source
		}
		text += "]"
	}
	return text
}

// stopped says why commands did not run that no tool call is known for; those of one
// are among its decisions.
func (p *pages) stopped(all []*join.Process) {
	p.part("Decided")
	for _, q := range all {
		if q.Decision.Stopped() {
			d := *q.Decision
			d.About = strings.Join(q.Args, " ")
			p.line("%s  %s", p.clock(d.At), decided(&d))
		}
	}
}

func (p *pages) processes(all []*join.Process, asked *join.Process) {
	p.part("Ran")
	for _, q := range all {
		mark := " "
		if asked != nil && q.PID == asked.PID && q.Start == asked.Start {
			mark = ">"
		}
		p.line("%s%s %s%s  (%d%s)", mark, p.clock(q.At), strings.Repeat("  ", q.Depth), commandLine(q.Args, maxCommand), q.PID, ending(q))
	}
}

func (p *pages) network(all []join.Connection) {
	p.part("Reached")
	for i := range all {
		c := &all[i]
		who := c.Program
		if who == "" {
			who = fmt.Sprintf("process %d", c.PID)
		}
		p.line(" %s %s: %s  %s%s", p.clock(c.At), who, c.To(), verdict(&c.Decision), traffic(c))
	}
}

// traffic is what went through a connection, where that was seen.
func traffic(c *join.Connection) string {
	text := ""
	if c.Sent+c.Received > 0 {
		text = fmt.Sprintf(", %d bytes sent, %d received", c.Sent, c.Received)
	}
	if c.Error != "" {
		text += ", " + c.Error
	}
	return text
}

func (p *pages) files(all []join.File) {
	p.part("Files")
	for i := range all {
		f := &all[i]
		p.line(" %s %s %s  %s", p.clock(f.At), f.Operation, f.Path, verdict(&f.Decision))
	}
}

func verdict(d *join.Decision) string {
	text := d.What
	if !d.Held && text != allowed && text != "" {
		text = "(" + text + ")"
	}
	if d.Reason != "" && text != allowed {
		text += ": " + d.Reason
	}
	return text
}

func (p *pages) result(c *join.Call) {
	r := c.Result
	if r == nil {
		return
	}
	p.part("Result")
	text := "told by the agent"
	if r.Success != nil {
		text = "the agent says that it failed"
		if *r.Success {
			text = "the agent says that it succeeded"
		}
	}
	if r.DurationMS > 0 {
		text += fmt.Sprintf(", after %.1f s", float64(r.DurationMS)/1000)
	}
	p.line("%s  %s", p.clock(r.At), text)
	if r.Error != "" {
		p.block(r.Error)
	}
	if r.Output != "" {
		p.block(r.Output)
	}
}
